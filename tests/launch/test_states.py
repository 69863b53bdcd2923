"""States of runs from their folders, the queue and the accounts."""

import os
import socket
import subprocess
import time

import pytest

from lt_bench.files import write_json
from lt_bench.launch.slurm.cluster import Queued
from lt_bench.launch.states import DONE, FAILED, QUEUED, RUNNING, SILENT_S, STOPPED, TO_DO, run_folders, states

HERE = socket.gethostname()
NAME = "0123456789ab"


class Cluster:
    """What SLURM would say."""

    def __init__(self, queued=None, ended=()):
        self.queued, self._ended = queued, dict(ended)

    def ended(self, jobs):
        return {job: self._ended[job] for job in jobs if job in self._ended}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / NAME).mkdir()
    return tmp_path / NAME


def state(folder, status=None, job=None, silence=None, cluster=None):
    if status:
        write_json(folder / "status.json", status)
    if job:
        write_json(folder / "job.json", {"job": job})
    if silence is not None:
        (folder / "heartbeat").touch()
        os.utime(folder / "heartbeat", (time.time() - silence,) * 2)
    return states([folder], cluster or Cluster())[folder]


def gone():
    """The identity of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_nothing_is_there_yet(folder):
    assert state(folder) == (TO_DO, "", None, False)
    assert state(folder, {"state": "submitted"}).name == TO_DO


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"state": "failed", "error": "KeyError: 3"}, (FAILED, "KeyError: 3")),
        ({"state": "interrupted"}, (STOPPED, "goes on where it stopped")),
        (
            {"state": "running", "host": "elsewhere", "pid": 1},
            (RUNNING, "on elsewhere, as far as can be seen from here"),
        ),
        ({"state": "running", "host": HERE, "pid": os.getpid()}, (FAILED, "its process has gone without a word")),
    ],
)
def test_runs_without_a_job(status, expected, folder):
    if status.get("pid") == os.getpid():
        status["pid"] = gone()
    assert state(folder, status)[:2] == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sh", "-c", "sleep 60; : lt_bench"], RUNNING),
        (["sleep", "60"], FAILED),  # the number of a process of ours belongs to another by now
    ],
)
def test_a_process_of_ours_on_this_machine_is_seen(command, expected, folder):
    process = subprocess.Popen(command)
    try:
        assert state(folder, {"state": "running", "host": HERE, "pid": process.pid}).name == expected
    finally:
        process.kill()
        process.wait()


def test_signs_of_life(folder):
    assert SILENT_S <= 50  # a death is seen within a minute
    running = {"state": "running", "host": "elsewhere", "pid": 1}
    assert state(folder, running, silence=1).name == RUNNING
    found = state(folder, running, silence=SILENT_S + 1)
    assert found.name == FAILED and found.detail.startswith("no sign of life for 4")


def test_an_interrupted_run_has_not_died(folder):
    assert state(folder, {"state": "interrupted"}, silence=SILENT_S + 1)[:2] == (STOPPED, "goes on where it stopped")


def test_what_waits_in_the_queue_of_a_sweep_is_in_hand(folder):
    assert state(folder, {"state": "submitted"}, silence=1)[:2] == (QUEUED, "its turn comes")


@pytest.mark.parametrize(
    ("queued", "silence", "expected"),
    [
        (Queued("PENDING", "Resources", False), None, (QUEUED, "pending, Resources")),
        (Queued("PENDING", "BeginTime", False), 999, (QUEUED, "pending, BeginTime")),  # requeued after a sudden death
        (Queued("COMPLETING", "None", False), 5, (QUEUED, "completing, None")),
        (Queued("RUNNING", "None", False), None, (QUEUED, "its turn comes")),
        (Queued("RUNNING", "None", False), 5, (RUNNING, "")),
        (Queued("RUNNING", "None", True), 999, (QUEUED, "its turn comes")),
        (Queued("RUNNING", "None", False), 999, (FAILED, "no sign of life for 999 s")),
    ],
)
def test_runs_with_a_job_in_the_queue(queued, silence, expected, folder):
    found = state(folder, {"state": "running", "host": "x", "pid": 1}, "7_3", silence, Cluster({"7_3": queued}))
    assert found[:3] == (*expected, "7_3") and found.lost == (found.name == FAILED)


def test_a_failure_is_seen_while_the_job_goes_on_with_others(folder):
    queued = Cluster({"7": Queued("RUNNING", "None", False)})
    assert state(folder, {"state": "failed", "error": "E"}, "7", cluster=queued) == (FAILED, "E", "7", False)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ("CANCELLED", (STOPPED, "job 7 was cancelled")),
        ("OUT_OF_MEMORY", (FAILED, "job 7 ended as OUT_OF_MEMORY without a word")),
        ("NODE_FAIL", (FAILED, "job 7 ended as NODE_FAIL without a word")),
        ("RUNNING", (FAILED, "job 7 ended without a word")),
        ("", (FAILED, "job 7 ended without a word")),
    ],
)
@pytest.mark.parametrize("status", ["running", "interrupted", "submitted"])
def test_runs_whose_job_has_left_the_queue(status, ended, expected, folder):
    found = state(
        folder, {"state": status, "host": "x", "pid": 1}, "7", cluster=Cluster({}, {"7": ended} if ended else {})
    )
    assert found == (*expected, "7", False)


def test_where_the_queue_cannot_be_asked_signs_of_life_count(folder):
    assert state(folder, job="7").detail == "the queue cannot be asked from here"
    assert state(folder, job="7", silence=3).name == RUNNING
    assert state(folder, job="7", silence=999)[:2] == (FAILED, "no sign of life for 999 s")


def test_folders_of_runs_are_told_from_those_of_stage_ones(tmp_path):
    assert run_folders(tmp_path / "none") == []
    contents = {
        "a" * 12: ("submission.json", {"only_stage_one": False}),
        "b" * 12: ("submission.json", {"only_stage_one": True}),
        "c" * 12: ("status.json", {"kind": "run"}),
        "d" * 12: ("status.json", {"kind": "stage_one"}),
        "e" * 12: ("record.json", {"kind": "run"}),
        "launch": ("submission.json", {"only_stage_one": False}),
    }
    for name, (file, values) in contents.items():
        write_json(tmp_path / name / file, values)
    assert [folder.name[0] for folder in run_folders(tmp_path)] == ["a", "c", "e"]


def test_a_valid_record_is_the_end_of_it(folder, monkeypatch):
    monkeypatch.setattr("lt_bench.launch.states.finished", lambda *_: True)
    assert state(folder, {"state": "failed"}, "7", 999, Cluster({})) == (DONE, "", "7", False)

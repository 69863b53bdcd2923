"""States of runs from their folders, the queue and the accounts."""

import os
import socket
import subprocess
import time

import pytest

from lt_bench.files import write_json
from lt_bench.launch.slurm.cluster import Queued
from lt_bench.launch.states import (
    DONE,
    FAILED,
    HEARTBEAT_TIMEOUT_S,
    QUEUED,
    RUNNING,
    STOPPED,
    TO_DO,
    run_folders,
    states,
)

HERE = socket.gethostname()
NAME = "0123456789ab"


class Cluster:
    """Stands for SLURM."""

    def __init__(self, queued=None, ended=()):
        self.queued, self._ended = queued, dict(ended)

    def ended(self, jobs):
        return {job: self._ended[job] for job in jobs if job in self._ended}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / NAME).mkdir()
    return tmp_path / NAME


def state(folder, status=None, job=None, age=None, cluster=None):
    if status:
        write_json(folder / "status.json", status)
    if job:
        write_json(folder / "job.json", {"job": job})
    if age is not None:
        (folder / "heartbeat").touch()
        os.utime(folder / "heartbeat", (time.time() - age,) * 2)
    return states([folder], cluster or Cluster())[folder]


def ended_process():
    """The id of a process that has ended."""
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
            (RUNNING, "on elsewhere, whose processes cannot be checked from here"),
        ),
        ({"state": "running", "host": HERE, "pid": os.getpid()}, (FAILED, "its process exited without a status")),
    ],
)
def test_runs_without_a_job(status, expected, folder):
    if status.get("pid") == os.getpid():
        status["pid"] = ended_process()
    assert state(folder, status)[:2] == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sh", "-c", "sleep 60; : lt_bench"], RUNNING),
        (["sleep", "60"], FAILED),  # the id belongs to another process by now
    ],
)
def test_a_process_of_ours_on_this_machine_is_seen(command, expected, folder):
    process = subprocess.Popen(command)
    try:
        assert state(folder, {"state": "running", "host": HERE, "pid": process.pid}).name == expected
    finally:
        process.kill()
        process.wait()


def test_heartbeats(folder):
    assert HEARTBEAT_TIMEOUT_S <= 50  # a killed run is seen within a minute
    running = {"state": "running", "host": "elsewhere", "pid": 1}
    assert state(folder, running, age=1).name == RUNNING
    found = state(folder, running, age=HEARTBEAT_TIMEOUT_S + 1)
    assert found.name == FAILED and found.detail.startswith("no heartbeat for 4")


def test_an_interrupted_run_has_not_failed(folder):
    assert state(folder, {"state": "interrupted"}, age=HEARTBEAT_TIMEOUT_S + 1)[:2] == (
        STOPPED,
        "goes on where it stopped",
    )


def test_a_run_that_waits_in_a_sweep_is_queued(folder):
    assert state(folder, {"state": "submitted"}, age=1)[:2] == (QUEUED, "pending")


@pytest.mark.parametrize(
    ("queued", "age", "expected"),
    [
        (Queued("PENDING", "Resources", False), None, (QUEUED, "pending, Resources")),
        (Queued("PENDING", "BeginTime", False), 999, (QUEUED, "pending, BeginTime")),  # requeued after its node failed
        (Queued("COMPLETING", "None", False), 5, (QUEUED, "completing, None")),
        (Queued("RUNNING", "None", False), None, (QUEUED, "pending")),
        (Queued("RUNNING", "None", False), 5, (RUNNING, "")),
        (Queued("RUNNING", "None", True), 999, (QUEUED, "pending")),
        (Queued("RUNNING", "None", False), 999, (FAILED, "no heartbeat for 999 s")),
    ],
)
def test_runs_with_a_job_in_the_queue(queued, age, expected, folder):
    found = state(folder, {"state": "running", "host": "x", "pid": 1}, "7_3", age, Cluster({"7_3": queued}))
    assert found[:3] == (*expected, "7_3") and found.lost == (found.name == FAILED)


def test_a_failure_is_seen_while_the_job_goes_on_with_others(folder):
    queued = Cluster({"7": Queued("RUNNING", "None", False)})
    assert state(folder, {"state": "failed", "error": "E"}, "7", cluster=queued) == (FAILED, "E", "7", False)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ("CANCELLED", (STOPPED, "job 7 was cancelled")),
        ("OUT_OF_MEMORY", (FAILED, "job 7 exited without a status (OUT_OF_MEMORY)")),
        ("NODE_FAIL", (FAILED, "job 7 exited without a status (NODE_FAIL)")),
        ("RUNNING", (FAILED, "job 7 exited without a status")),
        ("", (FAILED, "job 7 exited without a status")),
    ],
)
@pytest.mark.parametrize("status", ["running", "interrupted", "submitted"])
def test_runs_whose_job_has_left_the_queue(status, ended, expected, folder):
    found = state(
        folder, {"state": status, "host": "x", "pid": 1}, "7", cluster=Cluster({}, {"7": ended} if ended else {})
    )
    assert found == (*expected, "7", False)


def test_where_the_queue_cannot_be_read_heartbeats_count(folder):
    assert state(folder, job="7").detail == "the cluster's queue cannot be read from here"
    assert state(folder, job="7", age=3).name == RUNNING
    assert state(folder, job="7", age=999)[:2] == (FAILED, "no heartbeat for 999 s")


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


def test_a_run_with_a_valid_record_is_done(folder, monkeypatch):
    monkeypatch.setattr("lt_bench.launch.states.finished", lambda *_: True)
    assert state(folder, {"state": "failed"}, "7", 999, Cluster({})) == (DONE, "", "7", False)

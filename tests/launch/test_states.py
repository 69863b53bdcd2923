"""States of runs from their folders, the queue and the accounts."""

import os
import socket
import subprocess
import time

import pytest
from helpers.clocks import Clock, beating

from lt_bench.files import write_json
from lt_bench.launch.slurm.cluster import Queued
from lt_bench.launch.states import (
    DONE,
    FAILED,
    QUEUED,
    RUNNING,
    STOPPED,
    TO_DO,
    run_folders,
    states,
)
from lt_bench.liveness import STILL_S, this_process

MORE = "set launch.mem_gb=GB, above what the cluster gives where it is not set"
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


def state(folder, status=None, job=None, beats=None, cluster=None, ahead=0.0, clock=None):
    """The state of a run; ``beats``: whether its heartbeat moves or stands still, by a clock so many seconds ahead."""
    if status:
        write_json(folder / "status.json", status)
    if job:
        write_json(folder / "job.json", {"job": job})
    clock = clock or Clock()
    if beats is not None:
        start = time.time() + ahead
        (folder / "heartbeat").touch()
        os.utime(folder / "heartbeat", (start, start))
        clock.meanwhile = beating(folder / "heartbeat", start) if beats else clock.meanwhile
    return states([folder], cluster or Cluster(), clock.signs())[folder]


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


ELSEWHERE = {"state": "running", "host": "elsewhere", "pid": 1}
STILL = f"no heartbeat for {STILL_S} s"


@pytest.mark.parametrize("ahead", [0, -60, 120, -1e6, 1e8])
def test_a_sign_of_life_counts_by_its_change_whatever_its_clock_says(ahead, folder):
    assert STILL_S <= 50  # a killed run is seen within a minute
    clock = Clock()
    assert state(folder, ELSEWHERE, beats=True, ahead=ahead, clock=clock)[:2] == (RUNNING, "") and clock.now <= 11
    clock = Clock()
    assert state(folder, ELSEWHERE, beats=False, ahead=ahead, clock=clock)[:2] == (FAILED, STILL)
    assert STILL_S <= clock.now <= STILL_S + 2


def test_all_runs_are_looked_at_at_the_same_time_and_it_is_said_once(tmp_path, capsys):
    folders = [tmp_path / f"{number:012x}" for number in range(20)]
    for folder in folders:
        write_json(folder / "status.json", ELSEWHERE)
        (folder / "heartbeat").touch()
    clock = Clock(beating(folders[3] / "heartbeat", 0))
    found = states(folders, Cluster(), clock.signs())
    assert [state.name for state in found.values()].count(RUNNING) == 1 and found[folders[3]].name == RUNNING
    assert clock.now <= STILL_S + 2
    assert capsys.readouterr().err == "lt_bench: looking for signs of life of 20 runs, for 45 s at most\n"


def test_what_was_seen_is_kept_for_the_next_look(folder):
    """status --watch looks every ten seconds: a run that gives signs is known at once, and one that stops is found."""
    write_json(folder / "status.json", ELSEWHERE)
    (folder / "heartbeat").touch()
    clock = Clock(beating(folder / "heartbeat", 0))
    signs = clock.signs()
    for _ in range(6):
        assert states([folder], Cluster(), signs)[folder].name == RUNNING
        before = clock.now
        assert states([folder], Cluster(), signs)[folder].name == RUNNING and clock.now == before
        clock.sleep(10)
    clock.meanwhile = lambda seconds: None
    states([folder], Cluster(), signs)
    clock.sleep(STILL_S)
    before = clock.now
    assert states([folder], Cluster(), signs)[folder].name == FAILED and clock.now == before


def test_a_run_by_hand_elsewhere_gives_signs_by_its_lock(folder):
    write_json(folder / "lock", {**this_process(), "host": "elsewhere"})
    assert state(folder, ELSEWHERE, clock=Clock(beating(folder / "lock", 1e9)))[:2] == (RUNNING, "")
    assert state(folder, ELSEWHERE)[:2] == (FAILED, STILL)
    (folder / "lock").write_text("")  # released
    assert state(folder, {"state": "interrupted"}).name == STOPPED


def test_a_run_elsewhere_that_could_not_write_how_it_ended_does_not_run_for_ever(folder):
    """Its disk was full: the lock is released, and the status stays as it was."""
    (folder / "lock").touch()
    status = {"state": "running", **this_process(), "host": "elsewhere"}
    assert state(folder, status)[:2] == (FAILED, STILL)
    assert state(folder, status, clock=Clock(beating(folder / "lock", 0)))[:2] == (RUNNING, "")
    assert state(folder, ELSEWHERE).name == RUNNING  # of an older version, which does not renew its lock


@pytest.mark.parametrize(("ended", "expected"), [(False, (QUEUED, "pending")), (True, (FAILED, STILL))])
def test_where_the_process_that_starts_a_run_is_here_nothing_is_waited_for(ended, expected, folder):
    starter = {**this_process(), "pid": ended_process()} if ended else this_process()
    write_json(folder / "heartbeat", starter)
    clock = Clock()
    assert state(folder, {"state": "submitted"}, clock=clock)[:2] == expected and clock.now == 0


def test_an_interrupted_run_has_not_failed(folder):
    found = state(folder, {"state": "interrupted", "host": "elsewhere"}, beats=False)
    assert found[:2] == (STOPPED, "goes on where it stopped")


def test_a_run_that_waits_in_a_sweep_is_queued(folder):
    assert state(folder, {"state": "submitted"}, beats=True)[:2] == (QUEUED, "pending")


@pytest.mark.parametrize(
    ("queued", "beats", "expected"),
    [
        (Queued("PENDING", "Resources", False), None, (QUEUED, "pending, Resources")),
        (Queued("PENDING", "BeginTime", False), False, (QUEUED, "pending, BeginTime")),  # requeued, its node failed
        (Queued("COMPLETING", "None", False), True, (QUEUED, "completing, None")),
        (Queued("RUNNING", "None", False), None, (QUEUED, "pending")),
        (Queued("RUNNING", "None", False), True, (RUNNING, "")),
        (Queued("RUNNING", "None", True), False, (QUEUED, "pending")),
        (Queued("RUNNING", "None", False), False, (FAILED, STILL)),
        (Queued("RUNNING", "None", False, True), None, (QUEUED, "pending")),
        (Queued("RUNNING", "None", False, True), False, (RUNNING, "")),  # its file stands still, its node answers
        (Queued("RUNNING", "None", False, True), True, (RUNNING, "")),
        (Queued("RUNNING", "None", False, False), True, (RUNNING, "")),  # its node is slow to answer
        (Queued("RUNNING", "None", False, False), False, (FAILED, STILL)),
    ],
)
@pytest.mark.parametrize("ahead", [-120, 120])
def test_runs_with_a_job_in_the_queue(ahead, queued, beats, expected, folder):
    clock, status = Clock(), {"state": "running", "host": "x", "pid": 1}
    found = state(folder, status, "7_3", beats, Cluster({"7_3": queued}), ahead, clock)
    assert found[:3] == (*expected, "7_3") and found.lost == (found.name == FAILED)
    assert not queued.answers or clock.now == 0  # the scheduler knows


def test_a_failure_is_seen_while_the_job_goes_on_with_others(folder):
    queued = Cluster({"7": Queued("RUNNING", "None", False)})
    assert state(folder, {"state": "failed", "error": "E"}, "7", cluster=queued) == (FAILED, "E", "7", False)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ("CANCELLED", (STOPPED, "job 7 was cancelled")),
        ("OUT_OF_MEMORY", (FAILED, f"job 7 was killed for memory; {MORE}")),
        ("KILLED", (FAILED, f"job 7 was killed, perhaps for memory; {MORE}")),
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
    assert state(folder, job="7", beats=True).name == RUNNING
    assert state(folder, job="7", beats=False)[:2] == (FAILED, STILL)


def test_a_run_that_was_killed_in_a_job_without_memory_says_how_much_to_ask_for(folder):
    """The kernel kills the run, the job notes it as any failure, and the accounts know why."""
    write_json(folder / "submission.json", {"config": {"launch": {"mem_gb": 8}}})
    killed = {"state": "failed", "error": "failed (killed by signal 9)", "killed": True}
    of_memory = Cluster({}, {"7": "OUT_OF_MEMORY"})
    said = "job 7 was killed for memory; set launch.mem_gb=16 (it had 8)"
    assert state(folder, killed, "7", cluster=of_memory)[:2] == (FAILED, said)
    assert state(folder, killed, "7", cluster=Cluster({}, {"7": "FAILED"})).detail == killed["error"]
    other = {"state": "failed", "error": "KeyError: 3"}  # of another run in the same job
    assert state(folder, other, "7", cluster=of_memory).detail == "KeyError: 3"


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
    assert state(folder, {"state": "failed"}, "7", False, Cluster({})) == (DONE, "", "7", False)


@pytest.mark.parametrize("job", ["7\n8", "7 8", "../7", "-7", ""])
def test_what_is_no_name_of_a_job_is_none(job, folder):
    assert state(folder, {"state": "submitted"}, job=job, cluster=Cluster(queued={})) == (TO_DO, "", None, False)

"""The process pool: a few at a time, jobs that wait for others, separate failures, no process left running."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import processes_with, wait_for

from lt_bench.files import write_json
from lt_bench.launch.local.process_pool import Job, ProcessPool, _last_said
from lt_bench.launch.submission import HEARTBEAT, read_json
from lt_bench.liveness import BEAT_S
from lt_bench.processes import PLACE

# Stands for ``python -m lt_bench.launch.job FOLDER``: logs when it starts and ends, sleeps, and exits with the status
# in its folder.
FAKE = """#!{python}
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[3])
seconds, status = (folder / "script").read_text().split()
def note(what):
    with open({notes!r}, "a") as file:
        file.write(f"{{what}} {{folder.name}} {{os.environ['OMP_NUM_THREADS']}}\\n")
note("start")
print("output of", folder.name, flush=True)
time.sleep(float(seconds))
note("end")
sys.exit(int(status))
"""


REAL_PYTHON = sys.executable


class Notes:
    """A stand-in for the interpreter of runs, and what it noted."""

    def __init__(self, folder, monkeypatch):
        self.path, script = folder / "notes", folder / "fake"
        script.write_text(FAKE.format(python=sys.executable, notes=str(self.path)))
        script.chmod(0o755)
        self.path.write_text("")
        monkeypatch.setattr("lt_bench.launch.local.process_pool.sys.executable", str(script))

    def lines(self):
        return [tuple(line.split()) for line in self.path.read_text().splitlines()]

    def events(self):
        return [f"{what} {name}" for what, name, _ in self.lines()]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    return Notes(tmp_path, monkeypatch)


@pytest.fixture
def job(tmp_path):
    """A job whose stand-in sleeps for some seconds and ends with a status."""

    def made(name, seconds=0.0, status=0, after=None):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "script").write_text(f"{seconds} {status}")
        return Job(folder, after and tmp_path / "runs" / after)

    return made


def worked(*jobs, parallel=1, rank=0):
    """The pool after its work, and what it reported of every job."""
    ended = []
    pool = ProcessPool(list(jobs), parallel, {"OMP_NUM_THREADS": "3"}, lambda *reported: ended.append(reported), rank)
    pool.work()
    return pool, [(job.folder.name, status, message) for job, status, message in ended]


def test_jobs_are_done_in_order_and_their_output_is_in_their_folders(notes, job, tmp_path):
    pool, ended = worked(job("a"), job("b"), job("c"))
    assert ended == [(name, 0, "done") for name in "abc"] and not pool.failed
    assert notes.events() == ["start a", "end a", "start b", "end b", "start c", "end c"]
    assert (tmp_path / "runs" / "b" / "log.txt").read_text() == "output of b\n"
    assert {threads for _, _, threads in notes.lines()} == {"3"}


def test_variables_of_a_launcher_reach_a_run_only_where_they_are_its_own(monkeypatch):
    for name in PLACE:
        monkeypatch.setenv(name, "7")
    assert not {*ProcessPool([], 1, {}).environment} & {*PLACE}
    assert ProcessPool([], 1, {"WORLD_SIZE": "2", "RANK": "1"}).environment["RANK"] == "1"


def test_a_few_at_a_time(notes, job):
    worked(*(job(name, 0.3) for name in "abcde"), parallel=2)
    running, most = 0, 0
    for event in notes.events():
        running += 1 if event.startswith("start") else -1
        most = max(most, running)
    assert most == 2 and len(notes.events()) == 10


def test_runs_that_share_a_stage_wait_for_it_and_the_others_do_not(notes, job):
    jobs = [job("stage", 0.6), job("first", after="stage"), job("second", after="stage"), job("other")]
    worked(*jobs, parallel=2)
    events = notes.events()
    assert events.index("end other") < events.index("end stage") < events.index("start first")
    assert events.index("end stage") < events.index("start second")


def test_a_failure_is_reported_and_the_others_go_on(notes, job, tmp_path):
    pool, ended = worked(job("good"), job("bad", status=1), job("last"))
    assert notes.events()[-1] == "end last"
    assert ended[1] == ("bad", 1, "failed (exit 1): output of bad") and list(pool.failed) == [tmp_path / "runs" / "bad"]
    status = read_json(tmp_path / "runs" / "bad" / "status.json")
    assert status == {"state": "failed", "error": "failed (exit 1): output of bad"}


def test_runs_that_need_a_failed_stage_are_not_run(notes, job):
    jobs = [job("stage", status=1), job("first", after="stage"), job("second", after="stage"), job("other")]
    pool, ended = worked(*jobs, parallel=2)
    assert sorted(notes.events()) == ["end other", "end stage", "start other", "start stage"]
    assert ("first", 1, "not run, because its stage one stage failed") in ended and len(pool.failed) == 3


def test_the_status_of_another_process_is_not_overwritten(notes, job):
    one = job("a", status=1)
    write_json(one.folder / "status.json", {"state": "running", "pid": 1})
    worked(one)
    assert read_json(one.folder / "status.json") == {"state": "running", "pid": 1}


def test_a_killed_process_is_a_failure(notes, job):
    Path(notes.path).with_name("fake").write_text("#!/bin/sh\nkill -9 $$\n")
    _, ended = worked(job("a"))
    assert ended == [
        ("a", -9, "failed (killed by signal 9, perhaps for memory; lower launch.parallel_runs): no output")
    ]


def test_a_sweep_inside_an_allocation_is_not_told_to_set_what_its_runs_do_not_have(notes, job, monkeypatch):
    Path(notes.path).with_name("fake").write_text("#!/bin/sh\nkill -9 $$\n")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    one = job("a")
    for executor, advice in (("local", "ask for more memory where the allocation is made"), ("slurm", "launch.mem_gb")):
        write_json(one.folder / "submission.json", {"config": {"launch": {"executor": executor}}})
        ((_, _, said),) = worked(one)[1]
        assert advice in said and ("launch.mem_gb" in said) == (executor == "slurm")


def test_a_process_that_is_terminated_before_it_handles_the_signal_is_no_failure(notes, job):
    Path(notes.path).with_name("fake").write_text("#!/bin/sh\nkill -TERM $$\n")
    pool, ended = worked(job("a"))
    assert ended == [("a", 130, "interrupted")] and not pool.failed


def test_an_interrupted_process_is_no_failure(notes, job, tmp_path):
    pool, ended = worked(job("a", status=130))
    assert ended == [("a", 130, "interrupted")] and not pool.failed and pool.interrupted == [tmp_path / "runs" / "a"]


def test_a_clusters_warning_does_not_kill_a_run_without_a_handler(notes, job):
    Path(notes.path).with_name("fake").write_text("#!/bin/sh\nkill -USR2 $$\necho running\n")
    one = job("a")
    worked(one)
    assert (one.folder / "log.txt").read_text() == "running\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a process when its parent exits")
def test_runs_are_terminated_when_the_pool_is_killed(notes, job):
    one = job("a", 60)
    code = (
        "import sys; from pathlib import Path; from lt_bench.launch.local.process_pool import Job, ProcessPool; "
        f"sys.executable = {str(Path(notes.path).with_name('fake'))!r}; "
        f"ProcessPool([Job(Path({str(one.folder)!r}))], 1, {{'OMP_NUM_THREADS': '1'}}).work()"
    )
    pool = subprocess.Popen([REAL_PYTHON, "-c", code])
    wait_for(lambda: notes.events() == ["start a"])
    assert len(processes_with(str(one.folder))) == 2  # the pool and its run
    pool.kill()
    pool.wait()
    wait_for(lambda: not processes_with(str(one.folder)))
    assert notes.events() == ["start a"]


def test_a_running_job_has_a_heartbeat_until_it_ends(notes, job, monkeypatch):
    one = job("a", 0.5)
    seen = []
    pool = ProcessPool([one], 1, {"OMP_NUM_THREADS": "1"})

    def meanwhile():
        if pool.running:
            seen.append((one.folder / HEARTBEAT).stat().st_mtime_ns)

    monkeypatch.setattr("lt_bench.launch.local.process_pool.BEAT_S", 0.1)
    pool.work(meanwhile)
    assert len(set(seen)) >= 3 and not (one.folder / HEARTBEAT).exists() and BEAT_S <= 10


def test_a_waiting_job_has_a_heartbeat(notes, job):
    jobs, seen = [job("a", 0.3), job("b")], []
    pool = ProcessPool(jobs, 1, {"OMP_NUM_THREADS": "1"})
    pool.work(lambda: seen.append((jobs[1] in pool.waiting, (jobs[1].folder / HEARTBEAT).exists())))
    assert (True, True) in seen and (True, False) not in seen and not (jobs[1].folder / HEARTBEAT).exists()


def test_only_rank_0_writes_status_and_heartbeat(notes, job):
    one = job("a", status=1)
    (one.folder / HEARTBEAT).touch()
    pool = ProcessPool([one], 1, {"OMP_NUM_THREADS": "3"}, rank=3)
    with pytest.raises(ZeroDivisionError):  # also after an error
        pool.work(lambda: 1 / 0)
    assert (one.folder / HEARTBEAT).exists()
    (one.folder / HEARTBEAT).unlink()
    worked(one, rank=3)
    assert sorted(path.name for path in one.folder.iterdir()) == ["log.3.txt", "script"]


def test_after_stop_nothing_is_started_and_running_jobs_are_waited_for(notes, job, tmp_path):
    jobs = [job("a", 60), job("b", 60), job("c", 60)]
    pool = ProcessPool(jobs, 2, {"OMP_NUM_THREADS": "1"})
    pool.work(lambda: pool.stop() if len(notes.events()) == 2 and not pool.stopping else None)
    assert sorted(notes.events()) == ["start a", "start b"] and pool.waiting == jobs[2:]
    assert pool.interrupted == [one.folder for one in jobs[:2]] and not pool.running


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_no_process_is_left_when_work_ends(error, notes, job):
    pool = ProcessPool([job("a", 60), job("b", 60), job("c", 60)], 2, {"OMP_NUM_THREADS": "1"})

    def interrupt():
        if len(notes.events()) == 2:
            raise error

    with pytest.raises(error):
        pool.work(interrupt)
    assert [process.popen.returncode for process in pool.running] == [-signal.SIGTERM] * 2
    assert sorted(notes.events()) == ["start a", "start b"]  # two processes: either may start first
    assert not list(pool.running[0].job.folder.parent.glob(f"*/{HEARTBEAT}"))


def test_a_folder_that_is_deleted_meanwhile_fails_alone(notes, job, tmp_path):
    jobs = [job("a", seconds=0.5), job("b"), job("c", after="b"), job("d")]
    runs, ended = tmp_path / "runs", []
    pool = ProcessPool(
        jobs, 1, {"OMP_NUM_THREADS": "1"}, lambda one, status, message: ended.append((one.folder.name, status, message))
    )
    pool.work(lambda: shutil.rmtree(runs / "b", ignore_errors=True) if not ended else None)
    assert [(name, status) for name, status, _ in ended] == [("a", 0), ("b", 1), ("c", 1), ("d", 0)]
    assert ended[1][2] == f"{runs / 'b' / 'log.txt'} cannot be written (No such file or directory)"
    assert read_json(runs / "b" / "status.json")["error"] == ended[1][2]


def test_a_folder_that_is_deleted_under_a_run(notes, job, tmp_path):
    folder = tmp_path / "runs" / "a"
    deleted = job("a", seconds=0.5, status=1)
    ended = []
    pool = ProcessPool(
        [deleted, job("b")],
        1,
        {"OMP_NUM_THREADS": "1"},
        lambda one, status, message: ended.append((one.folder.name, status, message)),
    )
    pool.work(lambda: shutil.rmtree(folder, ignore_errors=True) if "start a" in notes.events() and not ended else None)
    assert ended == [("a", 1, "failed (exit 1): its log cannot be read (No such file or directory)"), ("b", 0, "done")]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "no output"),
        ("some words\nof a library\n", "of a library"),
        ("lt_bench: first\nlt_bench: a.jpg is broken\nmend it\n", "lt_bench: a.jpg is broken; mend it"),
        ("lt_bench: a is broken\nb too\nc too\nmend them", "lt_bench: a is broken; 2 more lines; mend them"),
        ("lt_bench: a defect\nTraceback (most recent call last):\n  at\nValueError: x", "ValueError: x"),
        ("lt_bench: early\n" + "noise\n" * 20 + "end", "end"),
    ],
)
def test_of_a_failure_the_last_message_is_told(tmp_path, log, said):
    (tmp_path / "log.txt").write_text(log)
    assert _last_said(tmp_path / "log.txt") == said

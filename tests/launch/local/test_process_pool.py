"""A queue of processes: a few at a time, what waits for others, failures apart, no process left behind."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import processes_with, wait_for

from lt_bench.files import write_json
from lt_bench.launch.local.process_pool import HEARTBEAT_S, Job, ProcessPool
from lt_bench.launch.submission import HEARTBEAT, read_json

# Stands for ``python -m lt_bench.launch.job FOLDER``: notes when it starts and ends, sleeps, and exits with the status
# that its folder tells.
FAKE = """#!{python}
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[3])
seconds, status = (folder / "told").read_text().split()
def note(what):
    with open({notes!r}, "a") as file:
        file.write(f"{{what}} {{folder.name}} {{os.environ['OMP_NUM_THREADS']}}\\n")
note("start")
print("said by", folder.name, flush=True)
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
        (folder / "told").write_text(f"{seconds} {status}")
        return Job(folder, after and tmp_path / "runs" / after)

    return made


def worked(*jobs, parallel=1, rank=0):
    """The queue after its work, and what it was told of every job."""
    told = []
    queue = ProcessPool(list(jobs), parallel, {"OMP_NUM_THREADS": "3"}, lambda *words: told.append(words), rank)
    queue.work()
    return queue, [(job.folder.name, status, what) for job, status, what in told]


def test_jobs_are_done_in_order_and_what_they_say_is_in_their_folders(notes, job, tmp_path):
    queue, told = worked(job("a"), job("b"), job("c"))
    assert told == [(name, 0, "done") for name in "abc"] and not queue.failed
    assert notes.events() == ["start a", "end a", "start b", "end b", "start c", "end c"]
    assert (tmp_path / "runs" / "b" / "log.txt").read_text() == "said by b\n"
    assert {threads for _, _, threads in notes.lines()} == {"3"}


def test_a_few_at_a_time(notes, job):
    worked(*(job(name, 0.3) for name in "abcde"), parallel=2)
    running, most = 0, 0
    for event in notes.events():
        running += 1 if event.startswith("start") else -1
        most = max(most, running)
    assert most == 2 and len(notes.events()) == 10


def test_what_shares_a_stage_waits_for_it_and_the_others_do_not(notes, job):
    jobs = [job("stage", 0.6), job("first", after="stage"), job("second", after="stage"), job("other")]
    worked(*jobs, parallel=2)
    events = notes.events()
    assert events.index("end other") < events.index("end stage") < events.index("start first")
    assert events.index("end stage") < events.index("start second")


def test_a_failure_is_told_and_leaves_the_others_alone(notes, job, tmp_path):
    queue, told = worked(job("good"), job("bad", status=1), job("last"))
    assert notes.events()[-1] == "end last"
    assert told[1] == ("bad", 1, "failed (exit 1): said by bad") and list(queue.failed) == [tmp_path / "runs" / "bad"]
    status = read_json(tmp_path / "runs" / "bad" / "status.json")
    assert status == {"state": "failed", "error": "failed (exit 1): said by bad"}


def test_what_needs_a_failed_stage_is_not_run(notes, job):
    jobs = [job("stage", status=1), job("first", after="stage"), job("second", after="stage"), job("other")]
    queue, told = worked(*jobs, parallel=2)
    assert sorted(notes.events()) == ["end other", "end stage", "start other", "start stage"]
    assert ("first", 1, "not run, because its stage one stage failed") in told and len(queue.failed) == 3


def test_what_another_process_says_of_a_run_is_not_overwritten(notes, job):
    one = job("a", status=1)
    write_json(one.folder / "status.json", {"state": "running", "pid": 1})
    worked(one)
    assert read_json(one.folder / "status.json") == {"state": "running", "pid": 1}


def test_a_killed_process_is_a_failure(notes, job):
    Path(notes.path).with_name("fake").write_text("#!/bin/sh\nkill -9 $$\n")
    _, told = worked(job("a"))
    assert told == [("a", -9, "failed (killed by signal 9): it said nothing")]


def test_an_interrupted_process_is_no_failure(notes, job, tmp_path):
    queue, told = worked(job("a", status=130))
    assert told == [("a", 130, "interrupted")] and not queue.failed and queue.interrupted == [tmp_path / "runs" / "a"]


def test_a_clusters_warning_does_not_end_what_does_not_listen_yet(notes, job):
    Path(notes.path).with_name("fake").write_text("#!/bin/sh\nkill -USR2 $$\necho alive\n")
    one = job("a")
    worked(one)
    assert (one.folder / "log.txt").read_text() == "alive\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the death of its parent")
def test_runs_are_asked_to_stop_when_the_queue_is_killed(notes, job):
    one = job("a", 60)
    code = (
        "import sys; from pathlib import Path; from lt_bench.launch.local.process_pool import Job, ProcessPool; "
        f"sys.executable = {str(Path(notes.path).with_name('fake'))!r}; "
        f"ProcessPool([Job(Path({str(one.folder)!r}))], 1, {{'OMP_NUM_THREADS': '1'}}).work()"
    )
    queue = subprocess.Popen([REAL_PYTHON, "-c", code])
    wait_for(lambda: notes.events() == ["start a"])
    assert len(processes_with(str(one.folder))) == 2  # the queue and its run
    queue.kill()
    queue.wait()
    wait_for(lambda: not processes_with(str(one.folder)))
    assert notes.events() == ["start a"]


def test_a_heart_beats_while_a_run_lives_and_no_longer(notes, job, monkeypatch):
    one = job("a", 0.5)
    seen = []
    queue = ProcessPool([one], 1, {"OMP_NUM_THREADS": "1"})

    def meanwhile():
        if queue.running:
            seen.append((one.folder / HEARTBEAT).stat().st_mtime_ns)

    monkeypatch.setattr("lt_bench.launch.local.process_pool.HEARTBEAT_S", 0.1)
    queue.work(meanwhile)
    assert len(set(seen)) >= 3 and not (one.folder / HEARTBEAT).exists() and HEARTBEAT_S <= 10


def test_a_heart_beats_for_what_waits(notes, job):
    jobs, seen = [job("a", 0.3), job("b")], []
    queue = ProcessPool(jobs, 1, {"OMP_NUM_THREADS": "1"})
    queue.work(lambda: seen.append((jobs[1] in queue.waiting, (jobs[1].folder / HEARTBEAT).exists())))
    assert (True, True) in seen and (True, False) not in seen and not (jobs[1].folder / HEARTBEAT).exists()


def test_a_helping_process_leaves_the_state_to_the_first(notes, job):
    one = job("a", status=1)
    (one.folder / HEARTBEAT).touch()
    queue = ProcessPool([one], 1, {"OMP_NUM_THREADS": "3"}, rank=3)
    with pytest.raises(ZeroDivisionError):  # also where it ends in an error
        queue.work(lambda: 1 / 0)
    assert (one.folder / HEARTBEAT).exists()
    (one.folder / HEARTBEAT).unlink()
    worked(one, rank=3)
    assert sorted(path.name for path in one.folder.iterdir()) == ["log.3.txt", "told"]


def test_asked_to_stop_it_starts_nothing_more_and_waits_for_what_runs(notes, job, tmp_path):
    jobs = [job("a", 60), job("b", 60), job("c", 60)]
    queue = ProcessPool(jobs, 2, {"OMP_NUM_THREADS": "1"})
    queue.work(lambda: queue.stop() if len(notes.events()) == 2 and not queue.stopping else None)
    assert sorted(notes.events()) == ["start a", "start b"] and queue.waiting == jobs[2:]
    assert queue.interrupted == [one.folder for one in jobs[:2]] and not queue.running


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_no_process_outlives_the_queue(error, notes, job):
    queue = ProcessPool([job("a", 60), job("b", 60), job("c", 60)], 2, {"OMP_NUM_THREADS": "1"})

    def interrupt():
        if len(notes.events()) == 2:
            raise error

    with pytest.raises(error):
        queue.work(interrupt)
    assert [process.popen.returncode for process in queue.running] == [-signal.SIGTERM] * 2
    assert sorted(notes.events()) == ["start a", "start b"]  # two processes: either may be first to say so
    assert not list(queue.running[0].job.folder.parent.glob(f"*/{HEARTBEAT}"))


def test_a_folder_that_is_deleted_meanwhile_fails_alone(notes, job, tmp_path):
    jobs = [job("a", seconds=0.5), job("b"), job("c", after="b"), job("d")]
    runs, told = tmp_path / "runs", []
    queue = ProcessPool(
        jobs, 1, {"OMP_NUM_THREADS": "1"}, lambda one, status, what: told.append((one.folder.name, status, what))
    )
    queue.work(lambda: shutil.rmtree(runs / "b", ignore_errors=True) if not told else None)
    assert [(name, status) for name, status, _ in told] == [("a", 0), ("b", 1), ("c", 1), ("d", 0)]
    assert told[1][2] == f"{runs / 'b' / 'log.txt'} cannot be written (No such file or directory)"
    assert read_json(runs / "b" / "status.json")["error"] == told[1][2]


def test_a_folder_that_is_deleted_under_a_run(notes, job, tmp_path):
    folder = tmp_path / "runs" / "a"
    gone = job("a", seconds=0.5, status=1)
    told = []
    queue = ProcessPool(
        [gone, job("b")],
        1,
        {"OMP_NUM_THREADS": "1"},
        lambda one, status, what: told.append((one.folder.name, status, what)),
    )
    queue.work(lambda: shutil.rmtree(folder, ignore_errors=True) if "start a" in notes.events() and not told else None)
    assert told == [("a", 1, "failed (exit 1): its log cannot be read (No such file or directory)"), ("b", 0, "done")]

"""Sweeps on this machine: shared stages first, a few at a time, failures apart, no process left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import MODULE, wait_for

from lt_bench.config import Launch
from lt_bench.launch.local import Job, Queue, run_sweep
from lt_bench.record.record import read_record

SMOKE = ("budget=smoke", "progress=false", "launch.parallel_runs=2")

# Stands for ``python -m lt_bench``: notes when it starts and ends, sleeps, and exits with the status it is told.
FAKE = """#!{python}
import os, sys, time
name, seconds, status = sys.argv[3:6]
def note(what):
    with open({notes!r}, "a") as file:
        file.write(f"{{what}} {{name}} {{os.environ['OMP_NUM_THREADS']}}\\n")
note("start")
print("said by", name, flush=True)
time.sleep(float(seconds))
note("end")
sys.exit(int(status))
"""


class Notes:
    """A stand-in for the interpreter of runs, and what it noted."""

    def __init__(self, folder, monkeypatch):
        self.path, script = folder / "notes", folder / "fake"
        script.write_text(FAKE.format(python=sys.executable, notes=str(self.path)))
        script.chmod(0o755)
        self.path.write_text("")
        monkeypatch.setattr("lt_bench.launch.local.sys.executable", str(script))

    def lines(self):
        return [tuple(line.split()) for line in self.path.read_text().splitlines()]

    def events(self):
        return [f"{what} {name}" for what, name, _ in self.lines()]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    return Notes(tmp_path, monkeypatch)


def job(name, seconds=0.0, status=0, after=None):
    return Job((name, str(seconds), str(status)), name, after)


def queue(tmp_path, *jobs, parallel=1, threads=None):
    return Queue(list(jobs), Launch(parallel, threads), tmp_path / "runs", progress=False)


def test_jobs_are_done_in_order_and_what_they_say_is_in_their_folders(notes, tmp_path):
    assert queue(tmp_path, job("a"), job("b"), job("c")).work() == 0
    assert notes.events() == ["start a", "end a", "start b", "end b", "start c", "end c"]
    assert (tmp_path / "runs" / "b" / "log.txt").read_text() == "said by b\n"


def test_a_few_at_a_time(notes, tmp_path):
    assert queue(tmp_path, *(job(name, 0.3) for name in "abcde"), parallel=2).work() == 0
    running, most = 0, 0
    for event in notes.events():
        running += 1 if event.startswith("start") else -1
        most = max(most, running)
    assert most == 2 and len(notes.events()) == 10


def test_what_shares_a_stage_waits_for_it_and_the_others_do_not(notes, tmp_path):
    jobs = [job("stage", 0.6), job("first", after="stage"), job("second", after="stage"), job("other")]
    assert queue(tmp_path, *jobs, parallel=2).work() == 0
    events = notes.events()
    assert events.index("end other") < events.index("end stage") < events.index("start first")
    assert events.index("end stage") < events.index("start second")


def test_a_failure_is_told_and_leaves_the_others_alone(notes, tmp_path, capsys):
    assert queue(tmp_path, job("good"), job("bad", status=1), job("last")).work() == 1
    assert notes.events()[-1] == "end last"
    said = capsys.readouterr().err
    log = tmp_path / "runs" / "bad" / "log.txt"
    assert f"bad failed (exit 1): said by bad (all of it in {log})" in said
    assert "1 failed; the same command tries them again" in said


def test_what_needs_a_failed_stage_is_not_run(notes, tmp_path, capsys):
    jobs = [job("stage", status=1), job("first", after="stage"), job("second", after="stage"), job("other")]
    assert queue(tmp_path, *jobs, parallel=2).work() == 1
    assert sorted(notes.events()) == ["end other", "end stage", "start other", "start stage"]
    said = capsys.readouterr().err
    assert "first not run, because its stage one stage failed" in said and "3 failed" in said


def test_a_stage_that_another_process_has_is_left_to_its_runs(notes, tmp_path):
    """Exit status 2: refused, because somebody else is at it; the runs on top of it wait for that process."""
    assert queue(tmp_path, job("stage", status=2), job("first", after="stage")).work() == 1
    assert "end first" in notes.events()


def test_a_killed_process_is_a_failure(notes, tmp_path, capsys):
    script = Path(notes.path).with_name("fake")
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    assert queue(tmp_path, job("a")).work() == 1
    assert "a failed (exit -9): it said nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "environment", "parallel", "expected"),
    [(3, "7", 1, "3"), (None, "7", 1, "7"), (None, None, 1, "4"), (None, None, 3, "1"), (None, None, 9, "1")],
)
def test_threads_of_a_run(asked, environment, parallel, expected, notes, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    queue(tmp_path, job("a"), parallel=parallel, threads=asked).work()
    assert notes.lines()[0] == ("start", "a", expected)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_no_process_outlives_the_queue(error, notes, tmp_path, monkeypatch):
    def interrupt(_):
        if len(notes.events()) == 2:
            raise error

    monkeypatch.setattr("lt_bench.launch.local.time.sleep", interrupt)
    working = queue(tmp_path, job("a", 60), job("b", 60), job("c", 60), parallel=2)
    if error is KeyboardInterrupt:
        assert working.work() == 130
    else:
        with pytest.raises(error):
            working.work()
    assert [process.returncode for process, _ in working.running.values()] == [-signal.SIGTERM] * 2
    assert sorted(notes.events()) == ["start a", "start b"]  # two processes: either may be first to say so


def test_a_dry_run_prints_what_can_be_typed_and_starts_nothing(tmp_path, capsys):
    words = ["method=ce,sbcl", "stage_two=cb", "method.views=[plain]", f"output_dir={tmp_path}"]
    assert run_sweep(words, dry_run=True) == 0
    output = capsys.readouterr()
    assert output.err == "runs: 2, done: 0\n" and not list(tmp_path.iterdir())
    first, second = output.out.splitlines()
    assert first.endswith(f" to do method=ce stage_two=cb 'method.views=[plain]' output_dir={tmp_path}")
    assert second.split()[0] != first.split()[0]


def processes_of(folder):
    """Identities of the processes that have this folder on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_sweep_of_four_runs_of_which_two_diverge(tmp_path, capsys, monkeypatch):
    words = [*SMOKE, "method=ce", "stage_two=none,cb", f"output_dir={tmp_path}"]
    assert run_sweep([*words, "train.lr=0.1,1e30"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("runs: 4, done: 0\n") and "the loss was not finite" in said and "3 failed" in said
    records = [read_record(path) for path in tmp_path.glob("*/record.json")]
    assert sorted((record.kind, record.stage_two) for record in records) == [
        ("run", "cb"), ("run", "none"), ("stage_one", "none"),
    ]  # fmt: skip
    assert all(record.settings.get("train.lr", 0.1) == 0.1 for record in records)

    # stage one was trained once, by a process of its own
    stages = [json.loads(line)["stage"] for path in tmp_path.glob("*/metrics.jsonl") for line in path.open()]
    assert stages.count("stage one") == 1
    shared = next(record for record in records if record.kind == "stage_one")
    assert {record.stage_one_id for record in records if record.kind == "run"} == {shared.run_id}
    assert "stage one done" in (tmp_path / shared.run_id / "log.txt").read_text()

    # what is done is not done again
    monkeypatch.setattr("subprocess.Popen", None)
    assert run_sweep([*words, "train.lr=0.1"]) == 0
    assert capsys.readouterr().err == "runs: 2, done: 2\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
@pytest.mark.parametrize(("number", "sign"), [(signal.SIGTERM, "log.txt"), (signal.SIGINT, "checkpoint.pt")])
def test_a_signal_to_the_sweep_ends_all_of_it(number, sign, tmp_path):
    """While its runs are still starting, and while they train."""
    words = ["-m", "method=ce", "stage_two=none", "train.lr=0.1,0.2", "progress=false"]
    words += ["budget.epoch_scale=9", "checkpoint.every_epochs=1", f"output_dir={tmp_path}"]
    process = subprocess.Popen([*MODULE, *words], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(tmp_path.glob(f"*/{sign}")) or process.poll() is not None)
    assert len(processes_of(tmp_path)) >= 2
    time.sleep(0.2)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on where it stopped" in said
    assert processes_of(tmp_path) == [] and not list(tmp_path.glob("*/record.json"))

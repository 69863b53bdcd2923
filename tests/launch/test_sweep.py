"""Sweeps on this machine: dry runs, shared stages, runs of other sweeps, failures, signals, many runs."""

import json
import os
import signal
import subprocess
import time
from operator import ne
from pathlib import Path
from threading import Thread

import pytest
from helpers.command_line import MODULE, hear_signals, processes_with, wait_for

import lt_bench.launch.sweep as module
from lt_bench.errors import UsageError
from lt_bench.files import write_json
from lt_bench.launch.local.process_pool import ProcessPool
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.states import DONE, RUNNING, TO_DO, State
from lt_bench.launch.submission import read_json
from lt_bench.launch.sweep import carry_out, counts, differences, one_at_a_time, run_sweep
from lt_bench.liveness import stamp, this_process
from lt_bench.record.record import read_record

PATIENCE_S = 300  # seconds; other work on the machine may slow a start down
SMOKE = ("budget=smoke", "progress=false", "launch.parallel_runs=2")


def test_counts_name_what_there_is():
    assert counts([State(DONE), State(RUNNING), State(DONE), State(TO_DO)]) == "runs: 4, done: 2, running: 1"


def test_differences_are_the_overrides_that_are_not_common():
    runs = plan(["device=cpu", "method=ce", "stage_two=none,cb", "seed=1,2"])
    assert list(differences(runs).values())[:2] == ["stage_two=none seed=1", "stage_two=none seed=2"]
    assert list(differences(runs[:1]).values()) == ["CE / –, digits_lt IF 20, seed 1"]


@pytest.mark.parametrize(
    ("asked", "environment", "parallel", "expected"),
    [(3, "7", 1, "3"), (3, None, 2, "3"), (None, "7", 1, "7"), (None, None, 1, None), (None, None, 3, None)],
)
def test_threads_of_a_run(asked, environment, parallel, expected, tmp_path, monkeypatch):
    """What is typed, or else what the environment says; without both, the run chooses."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    seen = []
    monkeypatch.setattr(
        "lt_bench.launch.sweep.ProcessPool.work", lambda pool, _: seen.append((pool.environment, pool.parallel))
    )
    overrides = [f"launch.parallel_runs={parallel}", f"launch.threads_per_run={asked or 'null'}"]
    run_sweep([*overrides, f"output_dir={tmp_path}"])
    ((given, at_once),) = seen
    assert given.get("OMP_NUM_THREADS") == expected and at_once == parallel


def test_runs_in_one_folder_keep_their_sign_of_life_while_another_folder_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.launch.submission.BEAT_S", 0.01)
    real, seen = module._submit, []

    def submit_or_wait(runs, *how):
        if runs[0].output_dir == str(tmp_path / "a"):
            return real(runs, *how)
        signs = [*(tmp_path / "a").glob("*/heartbeat")]
        first = stamp(*signs)
        seen.append(len(signs))
        wait_for(lambda: all(map(ne, first, stamp(*signs))), PATIENCE_S)
        return []

    monkeypatch.setattr(module, "_submit", submit_or_wait)
    monkeypatch.setattr(module, "_run_here", lambda jobs: sum(len(each) for _, each in jobs))
    runs = [run for name in "ab" for run in plan([*SMOKE, "seed=1,2", f"output_dir={tmp_path / name}"])]
    assert carry_out(runs) == seen[0] == 2


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another folder with output_dir=DIR"):
        run_sweep([f"output_dir={tmp_path / 'file'}"])


def test_a_run_of_another_process_is_not_started(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lt_bench.launch.sweep.ProcessPool.work", lambda pool, _: 1 / 0)
    (run,) = plan([f"output_dir={tmp_path}"])
    run.folder.mkdir()
    write_json(run.folder / "heartbeat", this_process())
    assert run_sweep(run.overrides) == 0
    assert capsys.readouterr().err == "runs: 1, done: 0, running: 1\n"


def test_runs_that_wait_in_another_sweep_are_not_started(tmp_path, monkeypatch, capsys):
    overrides = ["method=ce", "stage_two=none,cb", "seed=1,2", f"output_dir={tmp_path}"]
    statuses = []

    def meanwhile(pool, _):
        monkeypatch.setattr("lt_bench.launch.sweep.ProcessPool.work", lambda pool, _: 1 / 0)
        statuses.append(run_sweep(overrides))

    monkeypatch.setattr("lt_bench.launch.sweep.ProcessPool.work", meanwhile)
    assert run_sweep(overrides) == 0 and statuses == [0]
    first, cost, second = capsys.readouterr().err.splitlines()
    assert (first, second) == ("runs: 4, done: 0", "runs: 4, done: 0, queued: 4")
    assert cost.startswith("to do: 4; no estimate: its hours are not known")  # said before the first run starts


def test_waiting_for_another_sweep_prints_a_line(tmp_path, capsys):
    with one_at_a_time(tmp_path):
        waiting = Thread(target=lambda: one_at_a_time(tmp_path).__enter__(), daemon=True)
        waiting.start()
        wait_for(lambda: "waiting for another sweep" in capsys.readouterr().err)
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_dry_run_prints_what_can_be_typed_and_starts_nothing(tmp_path, capsys):
    overrides = ["method=ce,sbcl", "stage_two=cb", "method.views=[plain]", f"output_dir={tmp_path}"]
    assert run_sweep(overrides, dry_run=True) == 0
    output = capsys.readouterr()
    assert output.err == "runs: 2, done: 0\n" and not list(tmp_path.iterdir())
    first, second = output.out.splitlines()
    assert first.endswith(f" to do method=ce stage_two=cb 'method.views=[plain]' output_dir={tmp_path}")
    assert second.split()[0] != first.split()[0]


@pytest.mark.slow
def test_runs_are_kept_in_the_current_folder_by_default(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_sweep(["method=ce", "seed=0,1", *SMOKE]) == 0
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 4  # each with its stage one
    assert run_sweep(["method=ce", "seed=0,1", *SMOKE]) == 0
    assert "runs: 2, done: 2" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_of_four_runs_of_which_two_diverge(tmp_path, capsys, monkeypatch):
    overrides = [*SMOKE, "method=ce", "stage_two=none,cb", f"output_dir={tmp_path}"]
    assert run_sweep([*overrides, "train.lr=0.1,1e30"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("runs: 4, done: 0\n") and "the loss was not finite" in message and "3 failed" in message
    (trace,) = tmp_path.glob("*/trace.txt")
    assert message.count(f"(see {trace})") == 1 and "NonFiniteLoss" in trace.read_text()
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
    monkeypatch.setattr("lt_bench.launch.sweep.ProcessPool", None)
    assert run_sweep([*overrides, "train.lr=0.1"]) == 0
    assert capsys.readouterr().err == "runs: 2, done: 2\n"


@pytest.mark.slow
def test_a_stage_one_that_a_second_sweep_starts_meanwhile_is_waited_for(tmp_path, monkeypatch, capsys):
    """It is still pending in the first sweep when the second begins to train it; both sweeps succeed."""
    overrides = [*SMOKE, "method=ce", f"output_dir={tmp_path}"]
    (run,) = plan([*overrides, "stage_two=ncm"])
    stage_one, work, others = run.stage_one_folder, ProcessPool.work, []

    def meanwhile(pool, watch):
        others.append(subprocess.Popen([*MODULE, "-m", *overrides, "stage_two=ncm"], stderr=subprocess.PIPE, text=True))
        wait_for(lambda: read_json(stage_one / "status.json").get("state") == "running", PATIENCE_S)
        stopped = [read_json(stage_one / "status.json")["pid"]]
        os.kill(stopped[0], signal.SIGSTOP)  # until the first sweep starts it

        def watched():
            if stopped and (stage_one / "log.txt").read_text():
                os.kill(stopped.pop(), signal.SIGCONT)
            watch()

        try:
            work(pool, watched)
        finally:
            if stopped:
                os.kill(stopped.pop(), signal.SIGKILL)

    monkeypatch.setattr(ProcessPool, "work", meanwhile)
    assert run_sweep([*overrides, "stage_two=none,cb"]) == 0
    said = capsys.readouterr().err.splitlines()  # nothing has failed
    assert said[0] == "runs: 2, done: 0" and len(said) == 2 and said[1].startswith("to do: 2; ")
    _, message = others[0].communicate()
    assert others[0].returncode == 0, message
    assert len(list(tmp_path.glob("*/record.json"))) == 4
    assert "done before" in (stage_one / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
@pytest.mark.parametrize(
    ("number", "sign"),
    [(signal.SIGTERM, "log.txt"), (signal.SIGINT, "checkpoint.pt"), (signal.SIGHUP, "checkpoint.pt")],
)
def test_a_signal_to_the_sweep_ends_all_of_it(number, sign, tmp_path):
    """While its runs are still starting, and while they train."""
    overrides = ["-m", "method=ce", "stage_two=none", "train.lr=0.1,0.2", "progress=false"]
    overrides += ["budget.epoch_scale=900", "checkpoint.every_epochs=1", f"output_dir={tmp_path}"]
    process = subprocess.Popen([*MODULE, *overrides], stderr=subprocess.PIPE, text=True, preexec_fn=hear_signals)
    try:
        wait_for(lambda: list(tmp_path.glob(f"*/{sign}")) or process.poll() is not None, PATIENCE_S)
        wait_for(lambda: len(processes_with(str(tmp_path))) >= 2, PATIENCE_S)
        time.sleep(0.2)
        for _ in range(2 if number == signal.SIGHUP else 1):  # which a closed terminal often sends twice
            os.kill(process.pid, number)
            time.sleep(0.1)
        _, message = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()  # where it has heard nothing; its runs are told when it ends
    assert process.returncode == 130 and "the same command goes on where it stopped" in message
    wait_for(lambda: not processes_with(str(tmp_path)))  # one that was just being started ends last
    assert not list(tmp_path.glob("*/record.json"))


# Stands for a run: the first ones end only when four of them have started.
MEETING = """#!/bin/sh
touch {marks}/mark.$$
tries=0
until [ $(ls {marks}/mark.* | wc -l) -ge 4 ]; do
    tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1
    sleep 0.05
done
echo $OMP_NUM_THREADS
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
def test_a_sweep_of_two_hundred_runs(tmp_path, monkeypatch, capsys):
    """No process is left, no file but those of the runs, and as many at a time as asked for, never more."""
    stand_in, runs = tmp_path / "python", tmp_path / "runs"
    stand_in.write_text(MEETING.format(marks=tmp_path))
    stand_in.chmod(0o755)
    monkeypatch.setattr("lt_bench.launch.local.process_pool.sys.executable", str(stand_in))
    most, work, before = [], ProcessPool.work, zombies()  # which other tests have left

    def watched(pool, meanwhile):
        pool.fork = False  # the stand-in is no server
        work(pool, lambda: most.append((len(pool.running), len(zombies() - before))))

    monkeypatch.setattr(ProcessPool, "work", watched)
    assert (
        run_sweep(
            [
                "seed=range(200)",
                "launch.parallel_runs=4",
                "launch.threads_per_run=2",
                f"output_dir={runs}",
                "progress=false",
            ]
        )
        == 0
    )
    assert [max(numbers) <= 4 for numbers in zip(*most, strict=True)] == [True] * 2
    assert processes_with(str(runs)) == [] and zombies() <= before
    assert {path.name for path in runs.glob("*/*")} == {
        "submission.json",
        "status.json",
        "log.txt",
        "lock",
        "plan.json",
    }
    logs = [path.read_text() for path in runs.glob("*/log.txt")]
    assert logs == ["2\n"] * 200 and len(list(runs.iterdir())) == 201


def zombies():
    """Children of this process that have exited and were not waited for."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, *_ = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if (state, parent) == ("Z", str(os.getpid())):
            found.add(path)
    return found

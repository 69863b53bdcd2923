"""Sweeps on a real SLURM cluster: arrays, shared GPUs, several nodes, preemption, kills, retry, cancel."""

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial

import pytest
from helpers.chain import assert_identical, results
from helpers.command_line import call, processes_with, wait_for
from helpers.slurm_cluster import SlurmCluster, why_not

from lt_bench.liveness import STILL_S
from lt_bench.record.record import read_record

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
SLURM = ("launch=slurm", "launch.cpus_per_task=1", "launch.time_min=5", "progress=false", "device=cpu")
PATIENCE_S, PAUSE_S = 300, 0.25
# long enough to be interrupted: some hundred short epochs, with a checkpoint only after a signal
LONG = ("method=ce", "stage_two=cb", "train.epochs=400", "stage_two.train.epochs=100", "checkpoint.every_epochs=null")


@pytest.fixture(scope="module")
def cluster():
    if reason := why_not():
        pytest.skip(reason)
    with SlurmCluster() as started:
        yield started


@pytest.fixture(autouse=True)
def nothing_is_left(cluster):
    """A test that fails leaves no jobs to the next one."""
    yield
    cluster.run("scancel", *cluster.run("squeue", "-h", "-o", "%A").split())
    wait_for(lambda: not cluster.run("squeue", "-h").strip(), PATIENCE_S, PAUSE_S)


@pytest.fixture
def type_in(cluster, monkeypatch):
    """What a user types after python -m: the completed process, which must have ended well."""
    for name, value in {**cluster.environment, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)

    def typed(*arguments, status=0):
        done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return typed


@pytest.fixture
def submit(type_in, tmp_path):
    """Submit a sweep into a folder; returns the ids of the jobs (of arrays: of the arrays)."""

    def submitted(*overrides):
        done = type_in("lt_bench", "-m", *SLURM, f"output_dir={tmp_path / 'runs'}", *overrides)
        return re.findall(r"queued job (\d+)", done.stdout)

    return submitted


def states_of(type_in, folder):
    """The state of every run, as ``status`` shows it."""
    lines = type_in("lt_bench.launch", "status", "--runs", str(folder)).stdout.splitlines()
    return {line.split()[0]: line.split()[1] for line in lines if re.match("[0-9a-f]{12} ", line)}


def records_of(folder):
    return [record for path in folder.glob("*/record.json") if (record := read_record(path)).kind == "run"]


def wait_until_gone(cluster, *jobs):
    wait_for(lambda: not cluster.run("squeue", "-h", f"--jobs={','.join(jobs)}").strip(), PATIENCE_S, PAUSE_S)
    ongoing = {"RUNNING", "PENDING", "REQUEUED"}  # the accounts are updated after the queue
    wait_for(lambda: not ongoing & set(cluster.accounts(*jobs).values()), PATIENCE_S, PAUSE_S)


def epochs_of(folder):
    """Of the run that has trained longest."""
    return max((path.read_text().count("\n") for path in folder.glob("*/metrics.jsonl")), default=0)


def wait_for_training(folder, epochs=1):
    wait_for(lambda: epochs_of(folder) >= epochs, PATIENCE_S)


def is_running(cluster, job):
    return cluster.run("squeue", "-h", "-o", "%T", f"--jobs={job}").strip() == "RUNNING"


def restarts(cluster, job):
    return int(re.search(r"Restarts=(\d+)", cluster.run("scontrol", "show", "job", job))[1])


def results_in(folder):
    (record,) = records_of(folder)
    return results(record, folder / record.run_id)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Results of the run that is LONG, by hand."""
    folder = tmp_path_factory.mktemp("by_hand")
    words = (*LONG, "progress=false", "device=cpu", f"output_dir={folder}")
    done = call(*words, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return results_in(folder)


def test_24_runs_packed_in_pairs(cluster, type_in, submit, tmp_path):
    """Two arrays, because this cluster allows nine tasks in one; submitted again while they run, and afterwards."""
    runs = tmp_path / "runs"
    overrides = ["method=ce", "stage_two=none", "seed=range(24)", "budget=smoke"]
    overrides += ["launch.runs_per_gpu=2", "launch.cpus_per_task=2"]
    jobs = submit(*overrides)
    assert len(jobs) == 2 and submit(*overrides) == []
    wait_until_gone(cluster, *jobs)
    states = cluster.accounts(*jobs)
    assert len(states) == 12 and set(states.values()) == {"COMPLETED"}
    assert sorted(record.seed for record in records_of(runs)) == list(range(24))
    logs = [path.read_text() for path in runs.glob("*/log.txt")]
    assert len(logs) == 24 and all(log.count("CE on digits_lt") == 1 and "done before" not in log for log in logs)
    assert set(states_of(type_in, runs).values()) == {"done"} and submit(*overrides) == []


def test_a_run_preempted_five_times_ends_as_if_undisturbed(cluster, submit, undisturbed, tmp_path):
    """Each of the five counts as a time-out for submitit, whose own limit is three."""
    (job,) = submit(*LONG)
    chance = random.Random(0)

    def trains_again(times):
        state = cluster.run("squeue", "-h", "-o", "%T", f"--jobs={job}").strip()
        assert state, f"it ended after {times} preemptions"
        steps = cluster.run("squeue", "-h", "--steps", f"--jobs={job}")  # the last start's are listed for a while
        return state == "RUNNING" and restarts(cluster, job) == times and f"{job}.0" in steps

    for number in range(5):
        wait_for(partial(trains_again, number), PATIENCE_S, PAUSE_S)
        if number % 2:  # while it trains; by what it has done, as a faster machine would have ended by any time
            wait_for_training(tmp_path / "runs", epochs_of(tmp_path / "runs") + 1)
        else:  # while it starts
            time.sleep(chance.uniform(0, 1.5))
        # the warning of a preemption or of the end of the time; once, a preemption without a warning
        cluster.run("scancel", f"--signal={'TERM' if number == 2 else 'USR2'}", job)
        wait_for(lambda: not is_running(cluster, job), PATIENCE_S, PAUSE_S)
    wait_until_gone(cluster, job)
    assert cluster.accounts(job) == {job: "COMPLETED"}
    assert_identical(results_in(tmp_path / "runs"), undisturbed)


def test_runs_that_share_a_job_are_preempted_and_go_on(cluster, submit, undisturbed, tmp_path):
    """Both runs of a job write a checkpoint, and go on after the requeue."""
    runs = tmp_path / "runs"
    (job,) = submit(*LONG, "seed=0,1", "launch.runs_per_gpu=2", "launch.cpus_per_task=2")
    wait_for(lambda: len([path for path in runs.glob("*/metrics.jsonl") if path.read_text()]) == 2, PATIENCE_S)
    cluster.run("scancel", "--signal=USR2", job)
    wait_until_gone(cluster, job)
    assert restarts(cluster, job) == 1 and cluster.accounts(job) == {job: "COMPLETED"}
    first, second = sorted(records_of(runs), key=lambda record: record.seed)
    assert (first.seed, second.seed) == (0, 1)
    assert_identical(results(first, runs / first.run_id), undisturbed)


def test_the_end_of_a_jobs_time_is_not_the_end_of_its_run(cluster, submit, tmp_path):
    (job,) = submit(*LONG, "train.epochs=2500", "launch.time_min=2", "launch.signal_delay_s=90")
    wait_for(lambda: restarts(cluster, job) > 0, PATIENCE_S, PAUSE_S)
    wait_until_gone(cluster, job)
    assert cluster.accounts(job) == {job: "COMPLETED"} and len(records_of(tmp_path / "runs")) == 1


def test_a_run_on_two_nodes_is_preempted_by_a_higher_partition(cluster, submit, tmp_path):
    overrides = ("method=ce", "stage_two=cb", "train.epochs=300", "stage_two.train.epochs=50")
    (job,) = submit(*overrides, "launch.nodes=2", "launch.partition=low")
    wait_for_training(tmp_path / "runs", 20)
    others = [
        cluster.run("sbatch", "--parsable", "-p", "high", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3").strip()
        for _ in range(2)
    ]
    wait_for(lambda: not is_running(cluster, job), PATIENCE_S, PAUSE_S)
    wait_until_gone(cluster, job, *others)
    assert cluster.accounts(job) == {job: "COMPLETED"} and set(cluster.accounts(*others).values()) == {"COMPLETED"}
    assert restarts(cluster, job) == 1
    (record,) = records_of(tmp_path / "runs")
    assert record.environment["processes"] == 2
    for identity, count in ((record.stage_one_id, 300), (record.run_id, 50)):
        lines = (tmp_path / "runs" / identity / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(count))


def test_a_run_that_fails_stops_no_other_run_and_is_not_repeated(cluster, type_in, submit, tmp_path):
    """One job with a stage one for two runs, and beside it in the same job a run that diverges."""
    runs = tmp_path / "runs"
    (job,) = submit("method=ce", "sweep=[{stage_two:'none,cb'},{stage_two:none,train.lr:1e30}]", "budget=smoke",
                    "launch.runs_per_gpu=2", "launch.cpus_per_task=2")  # fmt: skip
    wait_until_gone(cluster, job)
    assert cluster.accounts(job) == {job: "FAILED"} and restarts(cluster, job) == 0
    assert sorted(record.stage_two for record in records_of(runs)) == ["cb", "none"]
    stages = [json.loads(line)["stage"] for path in runs.glob("*/metrics.jsonl") for line in path.open()]
    assert stages.count("stage one") == 1
    assert sorted(states_of(type_in, runs).values()) == ["done", "done", "failed"]
    shown = type_in("lt_bench.launch", "status", "--runs", str(runs)).stdout
    assert "the loss was not finite" in shown and "runs: 3, done: 2, failed: 1" in shown


@pytest.mark.parametrize("victim", ["lt_bench.launch.job", "submitit.core._submit"])
def test_what_is_killed_is_seen_and_can_be_retried(victim, cluster, type_in, submit, undisturbed, tmp_path):
    """The run's own process, and that of the job, which exits without a status."""
    runs = tmp_path / "runs"
    (job,) = submit(*LONG, "checkpoint.every_epochs=5")
    wait_for_training(runs, 20)
    # srun has the same arguments on its command line
    (pid,) = set(processes_with(victim, str(tmp_path))) - set(processes_with("srun", str(tmp_path)))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "failed" in states_of(type_in, runs).values(), 60)
    wait_until_gone(cluster, job)
    assert cluster.accounts(job) == {job: "FAILED"}
    wait_for(lambda: not processes_with("lt_bench.launch.job", str(tmp_path)))
    done = type_in("lt_bench.launch", "retry", "--runs", str(runs))
    (again,) = re.findall(r"queued job (\d+)", done.stdout)
    wait_until_gone(cluster, again)
    assert cluster.accounts(again) == {again: "COMPLETED"}
    assert_identical(results_in(runs), undisturbed)
    assert f"no submitted run in {runs} has failed" in type_in("lt_bench.launch", "retry", "--runs", str(runs)).stdout


def test_a_job_that_ends_before_any_run_started_has_a_log(cluster, type_in, submit, tmp_path):
    runs = tmp_path / "runs"
    (job,) = submit("method=ce", "budget=smoke", "launch.setup=['echo no such module; exit 3']")
    wait_until_gone(cluster, job)
    assert cluster.accounts(job) == {job: "FAILED"}
    shown = type_in("lt_bench.launch", "status", "--runs", str(runs)).stdout
    assert f"job {job} exited without a status (FAILED); logs shows what the job printed" in shown
    (name,) = states_of(type_in, runs)
    assert "no such module" in type_in("lt_bench.launch", "logs", name, "--runs", str(runs)).stdout


def test_cancel_is_about_our_jobs_only(cluster, type_in, submit, undisturbed, tmp_path):
    runs = str(tmp_path / "runs")
    foreign = cluster.run("sbatch", "--parsable", "-J", "lt_bench", "-o", "/dev/null", "--wrap", "sleep 600").strip()
    (first,) = submit(*LONG)
    (second,) = submit(*LONG, "seed=1", 'launch.sbatch=["--hold"]')
    wait_for_training(tmp_path / "runs")
    said = type_in("lt_bench.launch", "cancel", "--runs", runs).stdout
    assert said == f"cancelled 2 of the cluster's jobs: {first} {second}\n"
    wait_until_gone(cluster, first, second)
    assert cluster.accounts(first, second) == {first: "CANCELLED", second: "CANCELLED"}
    assert is_running(cluster, foreign)
    wait_for(lambda: set(states_of(type_in, runs).values()) == {"stopped"})
    cluster.run("scancel", foreign)
    (again,) = submit(*LONG, "train.epochs=400")
    wait_until_gone(cluster, again)
    assert cluster.accounts(again) == {again: "COMPLETED"}
    assert_identical(results_in(tmp_path / "runs"), undisturbed)


# On the node, whatever gives signs of life does so by a clock that is wrong, or does not reach the file system.
OTHER_CLOCK = """
import os, time
clock, utime = time.time, os.utime
time.time = lambda: clock() + {shift}
def shifted(path, times=None, **options):
    if {stalled} and str(path).endswith("heartbeat") and os.path.exists(path):
        return
    utime(path, times or (time.time(),) * 2, **options)
os.utime = shifted
"""


@pytest.fixture
def on_node(tmp_path):
    """The override by which the processes of a job have another clock."""

    def made(shift=0, stalled=False):
        (tmp_path / "node").mkdir()
        (tmp_path / "node" / "sitecustomize.py").write_text(OTHER_CLOCK.format(shift=shift, stalled=stalled))
        return f"launch.setup=['export PYTHONPATH={tmp_path / 'node'}']"

    return made


@pytest.fixture
def without_sinfo(tmp_path, monkeypatch):
    """Change alone says whether a run lives, where SLURM does not say whether nodes answer."""

    def made():
        (tmp_path / "sinfo").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "sinfo").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return made


@pytest.mark.parametrize("shift", [-120, 120])
def test_a_healthy_job_on_a_node_with_a_wrong_clock_is_left_alone(
    shift, cluster, type_in, submit, on_node, without_sinfo, tmp_path
):
    words = (*LONG, "train.epochs=3000", "launch.time_min=15", on_node(shift))
    (job,) = submit(*words)
    wait_for_training(tmp_path / "runs", 20)
    (sign,) = (tmp_path / "runs").glob("*/heartbeat")
    wait_for(lambda: abs(sign.stat().st_mtime - time.time() - shift) < 30)
    assert submit(*words) == [] and set(states_of(type_in, tmp_path / "runs").values()) == {"running"}
    without_sinfo()
    assert submit(*words) == [] and set(states_of(type_in, tmp_path / "runs").values()) == {"running"}
    wait_until_gone(cluster, job)
    assert cluster.accounts(job) == {job: "COMPLETED"} and restarts(cluster, job) == 0


def test_a_healthy_job_whose_sign_of_life_stands_still_is_left_alone(cluster, type_in, submit, on_node, tmp_path):
    words = (*LONG, "train.epochs=5000", "launch.time_min=15", on_node(stalled=True))
    (job,) = submit(*words)
    wait_for_training(tmp_path / "runs", 20)
    (sign,) = (tmp_path / "runs").glob("*/heartbeat")
    first = sign.stat().st_mtime_ns
    time.sleep(STILL_S + 2)
    assert is_running(cluster, job) and sign.stat().st_mtime_ns == first
    assert submit(*words) == [] and set(states_of(type_in, tmp_path / "runs").values()) == {"running"}
    wait_until_gone(cluster, job)
    assert cluster.accounts(job) == {job: "COMPLETED"} and restarts(cluster, job) == 0


def test_what_a_dead_node_leaves_blocks_nothing(cluster, type_in, submit, on_node, undisturbed, tmp_path):
    """Its clock is two minutes ahead; its job stays in the queue as running, its lock in the file system."""
    words = (*LONG, "checkpoint.every_epochs=5", on_node(120))
    (job,) = submit(*words)
    wait_for_training(tmp_path / "runs", 20)
    node = cluster.run("squeue", "-h", "-o", "%N", f"--jobs={job}").strip()
    cluster.lose_power(node, job)
    for pid in processes_with(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)
    locks = [path for path in (tmp_path / "runs").glob("*/lock") if path.read_text()]
    with ExitStack() as kept:
        for path in locks:  # as a file system may keep them
            path.write_text(json.dumps({**json.loads(path.read_text()), "host": node}))
            fcntl.flock(kept.enter_context(path.open()), fcntl.LOCK_EX)
        assert locks
        again = []
        wait_for(lambda: again.extend(submit(*words)) or again, PATIENCE_S)
        cluster.start_node(node)
        wait_until_gone(cluster, *again)
    assert cluster.accounts(*again) == {again[0]: "COMPLETED"}
    assert_identical(results_in(tmp_path / "runs"), undisturbed)


@pytest.mark.parametrize(
    ("wants", "largest"),
    [("time_min=61", "time_min=60"), ("cpus_per_task=3", "cpus_per_task=2"), ("mem_gb=9", "mem_gb=8"),
     ("gpus_per_node=3", "gpus_per_node=2"), ("nodes=3", "nodes=2")],
)  # fmt: skip
def test_what_no_node_can_serve_is_refused_with_the_largest_that_can_be_had(wants, largest, cluster, type_in, tmp_path):
    arguments = ["lt_bench", "-m", *SLURM, f"output_dir={tmp_path}", "method=ce"]
    said = type_in(*arguments, f"launch.{wants}", status=2).stderr.splitlines()[-1]
    assert f"launch.{wants} is more than" in said and f"in partition main can have; set launch.{largest}" in said
    assert not cluster.run("squeue", "-h").strip()


def test_what_sbatch_refuses_leaves_nothing(cluster, type_in, tmp_path):
    arguments = ["lt_bench", "-m", *SLURM, f"output_dir={tmp_path}", "method=ce", "launch.partition=nowhere"]
    said = type_in(*arguments, status=2).stderr
    assert "sbatch refused" in said and "nowhere" in said
    assert said.splitlines()[-1].endswith("; set launch.partition to one of high, low, main")
    assert {path.name for path in (tmp_path / "launch").iterdir()} == {"lock", "plan.json"}
    assert set(states_of(type_in, tmp_path).values()) == {"to"}


def test_a_search_is_an_array_whose_tasks_share_the_study(cluster, type_in, tmp_path):
    pytest.importorskip("optuna", reason="needs lt_bench[search]")
    words = ["search=optuna", "method=ce", "dataset.validation_per_class=5", "train.epochs=3", "search.trials=3"]
    words += ["search.space.train.lr=log(0.01,0.3)", *SLURM, "launch.runs_per_gpu=2", f"output_dir={tmp_path}"]
    queued = type_in("lt_bench", "-m", *words).stdout
    assert re.search(r"queued job \d+: 3 runs in 2 tasks", queued)
    assert "to do: 0" in type_in("lt_bench", "-m", *words).stderr
    wait_for(lambda: not cluster.run("squeue", "-h").strip(), PATIENCE_S, PAUSE_S)
    ended = type_in("lt_bench", "-m", *words)
    assert "3 of 3 trials done" in ended.stdout and "best: trial" in ended.stdout and "to do: 0" in ended.stderr
    assert len(list((tmp_path / "search").glob("*/journal.log"))) == 1

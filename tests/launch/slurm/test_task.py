"""What a task does when its runs end, fail or are stopped; in this process, with stand-ins for runs and SLURM."""

import json
import os
import signal

import pytest
from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission, JobPaths, UncompletedJobError

from lt_bench.launch.local.process_pool import Job
from lt_bench.launch.slurm.blocked_signals import BLOCKED
from lt_bench.launch.slurm.task import RunsFailed, Task

RUN = """#!/bin/sh
cd $3
echo $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $OMP_NUM_THREADS >>starts
. ./script
"""
STOPS = "trap 'exit 130' TERM; kill -{signal} $PPID; while :; do sleep 0.05; done"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Make a job of the task from what its stand-in does."""
    (tmp_path / "python").write_text(RUN)
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("lt_bench.launch.local.process_pool.sys.executable", str(tmp_path / "python"))

    def made(name, script="exit 0", after=None):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "script").write_text(script)
        return Job(folder, after and tmp_path / "runs" / after)

    return made


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Carry out jobs as submitit does; ``squeue`` prints the state of the job, ``scontrol`` logs its arguments."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT)}
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    values = {"SUBMITIT_EXECUTOR": "slurm", "SUBMITIT_FOLDER": str(tmp_path), "SLURM_JOB_ID": "7"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    def carried_out(*jobs, state="RUNNING", requeues=1000, minutes=5, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for name, text in (("squeue", f"echo {state}"), ("scontrol", f'echo "$@" >>{tmp_path}/calls')):
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        paths = JobPaths(tmp_path, "7", 0)
        delayed = DelayedSubmission(Task(list(jobs), 2, {"OMP_NUM_THREADS": "3"}))
        delayed.set_timeout(minutes, requeues)
        delayed.dump(paths.submitted_pickle)
        delayed = DelayedSubmission.load(paths.submitted_pickle)
        JobEnvironment()._handle_signals(paths, delayed)
        delayed.result()

    carried_out.again = lambda: DelayedSubmission.load(tmp_path / "7_submitted.pkl")
    carried_out.calls = lambda: (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""
    yield carried_out
    for number, handler in before.items():
        signal.signal(number, handler)


def starts(one):
    return (one.folder / "starts").read_text().count("\n")


def test_runs_end_well(job, work):
    jobs = [job("stage"), job("a", after="stage"), job("b", after="stage")]
    work(*jobs)
    assert [starts(one) for one in jobs] == [1, 1, 1] and work.calls() == ""
    assert [json.loads((one.folder / "job.json").read_text()) for one in jobs] == [{"job": "7"}] * 3


def test_the_folder_of_the_jobs_log_is_kept(job, work):
    one = job("a")
    (one.folder / "job.json").write_text('{"job": "6", "logs": "/somewhere"}')
    work(one)
    assert json.loads((one.folder / "job.json").read_text()) == {"job": "7", "logs": "/somewhere"}


def test_a_signal_that_arrives_while_a_job_starts_is_handled_later(job, work):
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    signal.raise_signal(signal.SIGUSR2)  # to this thread: threads of earlier tests do not block it
    with pytest.raises(SystemExit):
        work(job("slow", "sleep 60"))
    assert work.calls() == "requeue 7\n"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(BLOCKED)


def test_a_failure_fails_the_job_and_no_other_run(job, work):
    bad, good = job("bad", "exit 1"), job("good", "sleep 0.3; touch done")
    with pytest.raises(RunsFailed, match="^1 of 2 failed: bad$"):
        work(bad, good)
    assert (good.folder / "done").exists() and work.calls() == ""


def test_a_warning_stops_the_runs_and_requeues_the_job_without_failed_runs(job, work):
    bad, slow = job("bad", "exit 1"), job("slow", "sleep 0.5; " + STOPS.format(signal="USR2"))
    with pytest.raises(SystemExit):
        work(bad, slow)
    assert work.calls() == "requeue 7\n"
    again = work.again()
    assert again.function.failed == [bad.folder] and again.function.jobs == [bad, slow]
    (slow.folder / "script").write_text("exit 0")
    with pytest.raises(RunsFailed, match="^1 of 2 failed: bad$"):  # also when all others have succeeded
        again.function()
    assert (starts(bad), starts(slow)) == (1, 2)


@pytest.mark.parametrize("signal", ["USR2", "TERM"])
def test_runs_that_wait_for_one_that_succeeds_after_a_signal_are_requeued(signal, job, work):
    stage = job("stage", f"trap '' TERM; kill -{signal} $PPID; sleep 0.3")
    run = job("run", after="stage")
    with pytest.raises(SystemExit):
        work(stage, run)
    assert work.calls() == "requeue 7\n" and not (run.folder / "starts").exists()
    (stage.folder / "script").write_text("exit 0")
    work.again().function()
    assert starts(run) == 1


def test_waiting_runs_of_a_cancelled_job_are_named(job, work):
    stage = job("stage", "trap '' TERM; kill -TERM $PPID; sleep 0.3")
    with pytest.raises(RunsFailed, match="^1 of 2 failed: run$"):
        work(stage, job("run", after="stage"), state="COMPLETING")


def test_a_job_below_ten_minutes_is_requeued_as_often_as_max_requeues(job, work):
    """Submitit counts each of its interruptions as a time-out; its own limit is three."""
    slow = job("slow", STOPS.format(signal="USR2"))
    with pytest.raises(SystemExit):
        work(slow, requeues=5)
    for left in (4, 3, 2, 1, 0):
        again = work.again()
        assert again._timeout_countdown == left
        JobEnvironment()._handle_signals(JobPaths(os.environ["SUBMITIT_FOLDER"], "7", 0), again)
        with pytest.raises(SystemExit if left else UncompletedJobError):
            again.result()
    assert starts(slow) == 6 and work.calls() == "requeue 7\n" * 5


def test_a_long_job_is_requeued_without_limit(job, work):
    with pytest.raises(SystemExit):
        work(job("slow", STOPS.format(signal="USR2")), requeues=0, minutes=60)
    assert work.again()._timeout_countdown == 0 and work.calls() == "requeue 7\n"


@pytest.mark.parametrize(("state", "expected"), [("RUNNING", SystemExit), ("COMPLETING", RunsFailed), ("", RunsFailed)])
def test_sigterm_without_a_warning_is_a_preemption_unless_the_job_is_cancelled(state, expected, job, work):
    with pytest.raises(expected):
        work(job("slow", STOPS.format(signal="TERM")), state=state)
    assert work.calls() == ("requeue 7\n" if state == "RUNNING" else "")


def test_a_run_that_a_preemption_kills_while_it_starts_is_requeued(job, work):
    with pytest.raises(SystemExit):
        work(job("slow", "kill -TERM $PPID $$"))
    assert work.calls() == "requeue 7\n"


def test_the_processes_of_a_run_connect_and_the_first_requeues(job, work):
    ranks = {"SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "2", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
    one = job("run", STOPS.format(signal="USR2"))
    # exits without an error, so that SLURM does not kill the first process
    work(one, SLURM_JOB_NODELIST="node[07-08]", **ranks)
    assert (one.folder / "starts").read_text() == "3 4 1 2 node07 3\n" and work.calls() == ""
    assert not (one.folder / "job.json").exists()
    with pytest.raises(SystemExit):
        work(one, SLURM_JOB_NODELIST="node[07-08]", **{**ranks, "SLURM_PROCID": "0"})
    assert work.calls() == "requeue 7\n"


def test_one_of_several_processes_with_sigterm_alone_waits_for_slurm(job, work, monkeypatch):
    """Another process may have failed, and a failed run is not repeated."""
    monkeypatch.setattr("lt_bench.launch.slurm.task.time.sleep", lambda seconds: 1 / 0 if seconds == 60 else None)
    with pytest.raises(ZeroDivisionError):
        work(job("run", STOPS.format(signal="TERM")), SLURM_NTASKS="2")
    assert work.calls() == ""


def test_a_run_that_is_stopped_by_hand_is_not_repeated(job, work):
    with pytest.raises(RunsFailed):
        work(job("run", "exit 130"))
    assert work.calls() == ""

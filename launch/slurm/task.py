"""One task of a cluster's job: carries out a few runs at a time, stops them on a signal, goes on after a requeue."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from submitit.core.job_environment import JobEnvironment
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from lt_bench.command import DONE
from lt_bench.files import read_json, write_json

from ..local.process_pool import Job, ProcessPool
from ..submission import HEARTBEAT, JOB
from .blocked_signals import BLOCKED, unblock
from .cluster import query


class RunsFailed(Exception):
    """Some runs of a job have failed or were stopped by hand; their folders say why."""


class Task:
    """Called by submitit in the job, once on every process of it; raises RunsFailed, so that the job counts as failed.

    SLURM sends its signals to every process of a job. The handler here only records them: the runs receive them as
    well, finish their step, write a checkpoint and exit. Then submitit requeues the job.
    """

    def __init__(self, jobs: list[Job], parallel: int, environment: Mapping[str, str]) -> None:
        self.jobs, self.parallel, self.environment = jobs, parallel, dict(environment)
        self.failed: list[Path] = []

    def __call__(self) -> None:
        """Carry out the runs."""
        job = JobEnvironment()
        todo = [one for one in self.jobs if one.folder not in self.failed]
        distributed = {} if job.num_tasks == 1 else _rendezvous()
        environment, fork = {**self.environment, **distributed}, len(todo) > 1 and not distributed
        self.pool = ProcessPool(todo, self.parallel, environment, _print_end, job.global_rank, fork=fork)
        for one in todo if job.global_rank == 0 else []:
            write_json(one.folder / JOB, {**read_json(one.folder / JOB), "job": job.job_id})
            (one.folder / HEARTBEAT).unlink(missing_ok=True)
        self.signals: set[int] = set()
        requeue = signal.getsignal(signal.SIGUSR2)
        for number in BLOCKED:
            signal.signal(number, self._record_signal)
        unblock()
        self.pool.work(self._stop_on_signal)
        left = [*self.pool.interrupted, *(job.folder for job in self.pool.waiting)]
        if left and self.signals:
            if signal.SIGUSR2 not in self.signals and job.num_tasks > 1:
                _wait_for_slurm()
            if signal.SIGUSR2 in self.signals or _is_still_running(job.job_id):
                assert callable(requeue)
                requeue(signal.SIGUSR2, None)  # exits on rank 0; raises where the job may not be requeued again
                return
        failed = [folder.name for folder in (*self.failed, *self.pool.failed, *left)]
        if failed:
            raise RunsFailed(f"{len(failed)} of {len(self.jobs)} failed: {', '.join(failed)}")

    def checkpoint(self) -> DelayedSubmission:
        """What submitit calls after the requeue: the same runs without those that have failed."""
        again = Task(self.jobs, self.parallel, self.environment)
        again.failed = [*self.failed, *self.pool.failed]
        return DelayedSubmission(again)

    def _record_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals.add(number)

    def _stop_on_signal(self) -> None:
        if self.signals and not self.pool.stopping:
            self.pool.stop()


def _rendezvous() -> dict[str, str]:
    """The environment by which the processes of a run on several GPUs or nodes connect to each other."""
    meeting = TorchDistributedEnvironment()
    return {
        "MASTER_ADDR": meeting.master_addr,
        "MASTER_PORT": str(meeting.master_port),
        "RANK": str(meeting.rank),
        "WORLD_SIZE": str(meeting.world_size),
        "LOCAL_RANK": str(meeting.local_rank),
        "LOCAL_WORLD_SIZE": str(meeting.local_world_size),
    }


def _is_still_running(job: str) -> bool:
    """Whether a job that received SIGTERM alone was not cancelled: it is preempted, or its time limit is reached."""
    output = query("squeue", "--noheader", "--format=%T", f"--jobs={job}")
    return output is not None and output.strip() == "RUNNING"


def _wait_for_slurm() -> None:
    """Wait to be killed by SLURM: it ends the job after a failure, and requeues it after a preemption.

    One of several processes that receives SIGTERM cannot know whether another process has failed.
    """
    while True:
        time.sleep(60)


def _print_end(job: Job, status: int, message: str) -> None:
    """Print a line into the job's own log."""
    print(f"{job.folder.name} {message}" + f" (see {job.folder})" * (status != DONE), flush=True)

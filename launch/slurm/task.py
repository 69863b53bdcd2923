"""What one job of the cluster does: a few runs at a time, told to stop by a signal, continued after a requeue."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from submitit.core.job_environment import JobEnvironment
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from lt_bench.command import DONE
from lt_bench.files import write_json

from ..local.process_pool import Job, ProcessPool
from ..submission import HEARTBEAT, JOB, read_json
from .blocked_signals import BLOCKED, unblock
from .cluster import ask


class RunsFailed(Exception):
    """Some runs of a job have failed by themselves or were stopped for good; their folders say why."""


class Task:
    """Called by submitit in the job, once on every process of it; raises RunsFailed, so that the job is seen as failed.

    SLURM's signals reach every process of a job. They are only noted here: the runs, which hear them as well, finish
    their step, write a checkpoint and end; then submitit puts the job into the queue again.
    """

    def __init__(self, jobs: list[Job], parallel: int, environment: Mapping[str, str]) -> None:
        self.jobs, self.parallel, self.environment = jobs, parallel, dict(environment)
        self.failed: list[Path] = []

    def __call__(self) -> None:
        """Carry out the runs."""
        job = JobEnvironment()
        todo = [one for one in self.jobs if one.folder not in self.failed]
        helps = {} if job.num_tasks == 1 else _rendezvous()
        fork = len(todo) > 1 and not helps
        self.queue = ProcessPool(todo, self.parallel, {**self.environment, **helps}, _tell, job.global_rank, fork=fork)
        for one in todo if job.global_rank == 0 else []:
            write_json(one.folder / JOB, {**read_json(one.folder / JOB), "job": job.job_id})
            (one.folder / HEARTBEAT).unlink(missing_ok=True)
        self.signals: set[int] = set()
        requeue = signal.getsignal(signal.SIGUSR2)
        for number in BLOCKED:
            signal.signal(number, self._note)
        unblock()
        self.queue.work(self._heed)
        left = [*self.queue.interrupted, *(job.folder for job in self.queue.waiting)]
        if left and self.signals:
            if signal.SIGUSR2 not in self.signals and job.num_tasks > 1:
                _await_end()
            if signal.SIGUSR2 in self.signals or _still_wanted(job.job_id):
                assert callable(requeue)
                requeue(signal.SIGUSR2, None)  # ends this process on rank 0, or raises where the job may not go on
                return
        failed = [folder.name for folder in (*self.failed, *self.queue.failed, *left)]
        if failed:
            raise RunsFailed(f"{len(failed)} of {len(self.jobs)} failed: {', '.join(failed)}")

    def checkpoint(self) -> DelayedSubmission:
        """What submitit calls in the job's next life: the same runs less those that have failed by themselves."""
        again = Task(self.jobs, self.parallel, self.environment)
        again.failed = [*self.failed, *self.queue.failed]
        return DelayedSubmission(again)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signals.add(number)

    def _heed(self) -> None:
        if self.signals and not self.queue.stopping:
            self.queue.stop()


def _rendezvous() -> dict[str, str]:
    """The environment by which the processes of a run on several GPUs or nodes find each other."""
    meeting = TorchDistributedEnvironment()
    return {
        "MASTER_ADDR": meeting.master_addr,
        "MASTER_PORT": str(meeting.master_port),
        "RANK": str(meeting.rank),
        "WORLD_SIZE": str(meeting.world_size),
        "LOCAL_RANK": str(meeting.local_rank),
        "LOCAL_WORLD_SIZE": str(meeting.local_world_size),
    }


def _still_wanted(job: str) -> bool:
    """Whether a job that was only told to end has not been cancelled: it is preempted, or its time is over."""
    said = ask("squeue", "--noheader", "--format=%T", f"--jobs={job}")
    return said is not None and said.strip() == "RUNNING"


def _await_end() -> None:
    """Of several processes, one that is only told to end cannot know whether another has failed: SLURM does the rest.

    It ends the job as failed then, and requeues it after a preemption.
    """
    while True:
        time.sleep(60)


def _tell(job: Job, status: int, what: str) -> None:
    """A line for the job's own log."""
    print(f"{job.folder.name} {what}" + f" (see {job.folder})" * (status != DONE), flush=True)

"""The state of our jobs in SLURM, read with its own commands, at most once each."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable
from functools import cached_property
from shutil import which
from typing import NamedTuple

from lt_bench.errors import UsageError

JOB_NAME = "lt_bench"
MAX_ARRAY_SIZE = 1001  # SLURM's own default
TIMEOUT_S = 60  # of a command of SLURM


class Queued(NamedTuple):
    """A job in the queue: its state, why it is pending, and whether it has run for less than a minute."""

    state: str
    reason: str
    just_started: bool


class Cluster:
    """The queue and the accounts at one moment; where SLURM is not installed, nothing is known of any job."""

    @cached_property
    def queued(self) -> dict[str, Queued] | None:
        """Our jobs in the queue by job id, array tasks as 12_3; None where the queue cannot be read."""
        output = query("squeue", "--me", "--noheader", "--array", f"--name={JOB_NAME}", "--format=%i|%T|%M|%r")
        if output is None:
            return None
        lines = (line.split("|", 3) for line in output.splitlines() if line.count("|") >= 3)
        return {job: Queued(state, reason, elapsed.startswith("0:")) for job, state, elapsed, reason in lines}

    def ended(self, jobs: Collection[str]) -> dict[str, str]:
        """States of jobs that have left the queue, by job id; empty where there is no accounting."""
        wanted = ",".join(sorted(set(jobs)))
        output = query(
            "sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", f"--jobs={wanted}"
        )
        lines = (output or "").splitlines() if wanted else []
        found = {job: state.split()[0] for job, _, state in (line.partition("|") for line in lines) if state}
        # tasks that were cancelled before they started are one entry, as 12_[3-7]
        together = {job.partition("_")[0]: state for job, state in found.items() if "[" in job}
        return {job: state for job in jobs if (state := found.get(job) or together.get(job.partition("_")[0]))}

    @cached_property
    def max_array_size(self) -> int:
        """How many tasks an array may have."""
        lines = (query("scontrol", "show", "config") or "").splitlines()
        sizes = [line.partition("=")[2].strip() for line in lines if line.startswith("MaxArraySize")]
        return int(sizes[0]) if sizes and sizes[0].isdigit() else MAX_ARRAY_SIZE

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel jobs by their ids; raises UsageError with SLURM's message where it refuses."""
        done = subprocess.run(["scancel", *sorted(set(jobs))], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UsageError(f"scancel: {done.stderr.strip()}")


def query(*command: str) -> str | None:
    """The output of a command of SLURM; None where it is not installed, fails or times out."""
    if which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None

"""What SLURM says of our jobs: asked in its own commands, at most once each."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable
from functools import cached_property
from shutil import which
from typing import NamedTuple

from lt_bench.errors import UsageError

JOB_NAME = "lt_bench"
MAX_ARRAY_SIZE = 1001  # SLURM's own default
PATIENCE_S = 60  # for an answer of the cluster's


class Queued(NamedTuple):
    """A job in the queue: its state, why it waits, and whether it has run for less than a minute."""

    state: str
    reason: str
    young: bool


class Cluster:
    """A look at the queue and the accounts at one moment; where there is no SLURM, nothing is known of any job."""

    @cached_property
    def queued(self) -> dict[str, Queued] | None:
        """Our jobs in the queue by job id, array tasks as 12_3; None where there is no queue to ask."""
        said = ask("squeue", "--me", "--noheader", "--array", f"--name={JOB_NAME}", "--format=%i|%T|%M|%r")
        if said is None:
            return None
        lines = (line.split("|", 3) for line in said.splitlines() if line.count("|") >= 3)
        return {job: Queued(state, reason, elapsed.startswith("0:")) for job, state, elapsed, reason in lines}

    def ended(self, jobs: Collection[str]) -> dict[str, str]:
        """States of jobs that have left the queue, by job id; empty where there is no accounting."""
        wanted = ",".join(sorted(set(jobs)))
        said = ask("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", f"--jobs={wanted}")
        lines = (said or "").splitlines() if wanted else []
        found = {job: state.split()[0] for job, _, state in (line.partition("|") for line in lines) if state}
        # tasks that were cancelled before they began stay together, as 12_[3-7]
        together = {job.partition("_")[0]: state for job, state in found.items() if "[" in job}
        return {job: state for job in jobs if (state := found.get(job) or together.get(job.partition("_")[0]))}

    @cached_property
    def max_array_size(self) -> int:
        """How many tasks an array may have."""
        lines = (ask("scontrol", "show", "config") or "").splitlines()
        sizes = [line.partition("=")[2].strip() for line in lines if line.startswith("MaxArraySize")]
        return int(sizes[0]) if sizes and sizes[0].isdigit() else MAX_ARRAY_SIZE

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel jobs by their ids; raises UsageError with SLURM's own words where it refuses."""
        done = subprocess.run(["scancel", *sorted(set(jobs))], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UsageError(f"scancel: {done.stderr.strip()}")


def ask(*words: str) -> str | None:
    """What a command of SLURM prints; None where it is not there, fails or does not answer."""
    if which(words[0]) is None:
        return None
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None

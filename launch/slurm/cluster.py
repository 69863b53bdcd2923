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
RUNNING_JOB, KILLED = "RUNNING", "KILLED"  # the latter is a word of ours
TIMEOUT_S = 60  # of a command of SLURM


class Queued(NamedTuple):
    """A job in the queue: its state, why it is pending, and whether it has run for less than a minute.

    ``answers``: whether SLURM hears of all nodes of a running job; None where it does not say.
    """

    state: str
    reason: str
    just_started: bool
    answers: bool | None = None


class Cluster:
    """The queue and the accounts at one moment; where SLURM is not installed, nothing is known of any job."""

    @cached_property
    def queued(self) -> dict[str, Queued] | None:
        """Our jobs in the queue by job id, array tasks as 12_3; None where the queue cannot be read."""
        output = query("squeue", "--me", "--noheader", "--array", f"--name={JOB_NAME}", "--format=%i|%T|%M|%r")
        if output is None:
            return None
        lines = [line.split("|", 3) for line in output.splitlines() if line.count("|") >= 3]
        silent = self._on_silent_nodes() if any(state == RUNNING_JOB for _, state, *_ in lines) else None
        return {
            job: Queued(state, reason, elapsed.startswith("0:"), None if silent is None else job not in silent)
            for job, state, elapsed, reason in lines
        }

    def _on_silent_nodes(self) -> set[str] | None:
        """Our jobs on nodes that do not answer SLURM, which gives them up minutes later; None where it is not said."""
        nodes = query("sinfo", "--noheader", "--dead", "--Node", "--format=%N")
        if not nodes or nodes.isspace():
            return None if nodes is None else set()
        silent = ",".join(sorted(set(nodes.split())))
        output = query("squeue", "--me", "--noheader", "--array", f"--nodelist={silent}", "--format=%i")
        return None if output is None else set(output.split())

    def ended(self, jobs: Collection[str]) -> dict[str, str]:
        """States of jobs that have left the queue, by job id; empty where there is no accounting.

        One that failed because a signal 9 ended it is KILLED; one that failed has the state of a step of it that was
        killed for memory.
        """
        wanted = ",".join(sorted(set(jobs)))
        output = query("sacct", "--noheader", "--parsable2", "--format=JobID,State,ExitCode", f"--jobs={wanted}")
        lines = (output or "").splitlines() if wanted else []
        entries = ((job, *rest.split("|")) for job, _, rest in (line.partition("|") for line in lines) if rest)
        found = {job: _state(state.split()[0], *code[:1]) for job, state, *code in entries if state}
        for step, of_step in [*found.items()]:
            owner, dot, _ = step.partition(".")
            if dot and is_for_memory(of_step) and found.get(owner) in ("FAILED", KILLED):
                found[owner] = of_step
        # tasks that were cancelled before they started are one entry, as 12_[3-7]
        together = {job.partition("_")[0]: state for job, state in found.items() if "[" in job}
        return {job: state for job in jobs if (state := found.get(job) or together.get(job.partition("_")[0]))}

    @cached_property
    def max_array_size(self) -> int:
        """How many tasks an array may have."""
        size = self._settings.get("MaxArraySize", "")
        return int(size) if size.isdigit() else MAX_ARRAY_SIZE

    @property
    def chooses_partitions(self) -> bool:
        """Whether a plugin of the cluster may give a job that names no partition another one than the default."""
        return self._settings.get("JobSubmitPlugins", "(null)") != "(null)"

    @cached_property
    def _settings(self) -> dict[str, str]:
        lines = (line.partition("=") for line in (query("scontrol", "show", "config") or "").splitlines())
        return {name.strip(): value.strip() for name, _, value in lines}

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel jobs by their ids; raises UsageError with SLURM's message where it refuses."""
        done = subprocess.run(["scancel", *sorted(set(jobs))], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UsageError(f"scancel: {done.stderr.strip()}")


def is_for_memory(state: str) -> bool:
    """Whether the state of a job in the accounts says that it, or a part of it, was killed for memory."""
    return state.startswith("OUT_OF_ME")


def _state(state: str, exit_code: str = "") -> str:
    """The state of a job that has ended, whose exit code is that of its script and of a signal: 137:0 for signal 9."""
    return KILLED if state == "FAILED" and exit_code in ("137:0", "0:9", "9:0") else state


def query(*command: str) -> str | None:
    """The output of a command of SLURM; None where it is not installed, fails or times out."""
    if which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None

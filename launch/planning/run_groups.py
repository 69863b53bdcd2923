"""Runs that belong together: those that share a stage one, after that stage one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.config.schema import Launch

from ..local.process_pool import Job
from ..states import BUSY, DONE, State
from ..submission import Submission, freeze
from .plan import PlannedRun


class RunGroup(NamedTuple):
    """Runs to carry out in one place, and whether the stage one below them comes first, as a job of its own.

    ``below`` is the state that their stage one is in.
    """

    runs: list[PlannedRun]
    stage_one_first: bool
    below: State

    @property
    def after_job(self) -> str | None:
        """The job of the cluster that has their stage one in hand already."""
        return self.below.job if self.below.name in BUSY else None

    @property
    def trains_stage_one(self) -> bool:
        """Whether a run of theirs trains their stage one as a part of its own work."""
        return not self.stage_one_first and self.below.name not in (DONE, *BUSY)

    @property
    def launch(self) -> Launch:
        """How the runs are to be carried out."""
        return self.runs[0].config.launch


def run_groups(runs: Iterable[PlannedRun], states: Mapping[Path, State]) -> list[RunGroup]:
    """All runs in chains; a stage one that several of them share, that is not done and that nobody has, comes first.

    ``states`` has the states of their stage ones' folders.
    """
    runs = list(runs)
    users = Counter(_together(run) for run in runs if states[run.stage_one_folder].name != DONE)
    found: dict[tuple[str, str], RunGroup] = {}
    for run in runs:
        below = states[run.stage_one_folder]
        shared = users[_together(run)] > 1 and below.name not in BUSY
        chain = found.setdefault(_together(run) if shared else (run.identity, ""), RunGroup([], shared, below))
        chain.runs.append(run)
    return list(found.values())


def _together(run: PlannedRun) -> tuple[str, str]:
    """What runs of one chain have in common: the stage one, and the request to a cluster where they go to one."""
    launch = run.config.launch
    return run.stage_one, "" if launch.executor == "local" else repr(launch)


def submit(chain: RunGroup, code: Mapping[str, Any]) -> list[Job]:
    """Write the submissions of a chain into their run folders; returns the jobs that carry them out, in order."""
    below = None
    if chain.stage_one_first:
        first = chain.runs[0]
        below = freeze(Submission(first.config, True, dict(code), first.overrides), first.stage_one)
    folders = [freeze(Submission(run.config, False, dict(code), run.overrides), run.identity) for run in chain.runs]
    return [*([Job(below)] if below else []), *(Job(folder, below) for folder in folders)]

"""Groups of runs that are carried out in one place: those that share a stage one, after that stage one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lt_bench.config.schema import Launch

from ..local.process_pool import Job
from ..states import BUSY, DONE, State
from ..submission import Submission, freeze
from .plan import PlannedRun


class Queueable(Protocol):
    """Runs that share a job: a group of a sweep, or a trial of a search."""

    @property
    def runs(self) -> Sequence[Any]:
        """What stands for each of them."""

    @property
    def launch(self) -> Launch:
        """How they are to be carried out."""

    @property
    def after_job(self) -> str | None:
        """The job that they wait for."""

    @property
    def trains_stage_one(self) -> bool:
        """Whether one of them trains a stage one as a part of its own work."""

    def submit(self, code: Mapping[str, Any]) -> list[Job]:
        """Write what they do into their folders; returns the jobs that carry it out."""


class RunGroup(NamedTuple):
    """Runs to carry out in one place, whether their stage one is trained first, as a job of its own, and its state."""

    runs: list[PlannedRun]
    stage_one_first: bool
    stage_one_state: State

    @property
    def after_job(self) -> str | None:
        """The job of the cluster that trains their stage one already, if there is one."""
        return self.stage_one_state.job if self.stage_one_state.name in BUSY else None

    @property
    def trains_stage_one(self) -> bool:
        """Whether one of the runs trains their stage one as a part of its own work."""
        return not self.stage_one_first and self.stage_one_state.name not in (DONE, *BUSY)

    @property
    def launch(self) -> Launch:
        """How the runs are to be carried out."""
        return self.runs[0].config.launch

    def submit(self, code: Mapping[str, Any]) -> list[Job]:
        """Write the submissions into the run folders; returns the jobs that carry them out, in order."""
        stage_one_folder = None
        if self.stage_one_first:
            first = self.runs[0]
            stage_one_folder = freeze(Submission(first.config, True, dict(code), first.overrides), first.stage_one)
        folders = [freeze(Submission(run.config, False, dict(code), run.overrides), run.identity) for run in self.runs]
        trust = [tuple(run.config.trust) for run in self.runs]
        stage_one = [Job(stage_one_folder, trust=trust[0])] if stage_one_folder else []
        return [*stage_one, *(Job(folder, stage_one_folder, one) for folder, one in zip(folders, trust, strict=True))]


def run_groups(runs: Iterable[PlannedRun], states: Mapping[Path, State]) -> list[RunGroup]:
    """All runs in groups; a stage one that several of them share comes first, unless it is done, running or queued.

    ``states`` has the states of their stage ones' folders.
    """
    runs = list(runs)
    users = Counter(_together(run) for run in runs if states[run.stage_one_folder].name != DONE)
    found: dict[tuple[str, str], RunGroup] = {}
    for run in runs:
        state = states[run.stage_one_folder]
        shared = users[_together(run)] > 1 and state.name not in BUSY
        group = found.setdefault(_together(run) if shared else (run.identity, ""), RunGroup([], shared, state))
        group.runs.append(run)
    return list(found.values())


def _together(run: PlannedRun) -> tuple[str, str]:
    """What the runs of a group have in common: the stage one and, on a cluster, the request of resources."""
    launch = run.config.launch
    return run.stage_one, "" if launch.executor == "local" else repr(launch)

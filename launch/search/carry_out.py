"""A search carried out: its trials go where the runs of a sweep go, and its result is a table and what to type."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from lt_bench import command
from lt_bench.command import printable
from lt_bench.config.schema import Config, Launch
from lt_bench.errors import UsageError
from lt_bench.files import write_json
from lt_bench.record.edited import refuse_edited
from lt_bench.record.folder import code_version
from lt_bench.record.own_code import described

from ..local.process_pool import Job
from ..slurm.cluster import Cluster
from ..states import DONE, State, states
from ..submission import HEARTBEAT, JOB, give_sign
from ..sweep import OPEN, one_at_a_time, queue, run_here
from .planned import SEARCH, PlannedSearch, better, plan_search, trial_of


class TrialGroup(NamedTuple):
    """A trial as a job of a cluster."""

    runs: list[Path]
    config: Config
    after_job: str | None = None
    trains_stage_one: bool = False

    @property
    def launch(self) -> Launch:
        """How it is to be carried out."""
        return self.config.launch

    def submit(self, code: Mapping[str, Any]) -> list[Job]:
        """Forget what an earlier attempt left; what a trial does stands in the folder of the search."""
        for folder in self.runs:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (JOB, HEARTBEAT):
                (folder / name).unlink(missing_ok=True)
            write_json(folder / "status.json", {"state": "submitted", "kind": "trial"})
        return [Job(folder, None, tuple(self.config.trust)) for folder in self.runs]


def run_search(overrides: Sequence[str], dry_run: bool = False) -> int:
    """Carry out or queue the open trials of a search and show its result; returns the exit status of a sweep."""
    search = plan_search(overrides)
    if dry_run:
        print(printable(search_text(search)))
        return command.DONE
    jobs = _submit(search)
    labels = {job.folder: f"trial {int(job.folder.name.rpartition('-')[2])}" for job in jobs}
    status = run_here(jobs, labels, search.config) if jobs else command.DONE
    if status != command.INTERRUPTED:
        print(printable(search_text(search)))
    return status


def trial_states(search: PlannedSearch, cluster: Cluster | None = None) -> dict[Path, State]:
    """The states of the trials of a search, by their folders: one that has ended is done, whatever its score."""
    ended = {folder for folder in search.trials if "state" in trial_of(folder)}
    others = states([folder for folder in search.trials if folder not in ended], cluster)
    return {folder: State(DONE) if folder in ended else others[folder] for folder in search.trials}


def _submit(search: PlannedSearch) -> list[Job]:
    """Queue the open trials that are for a cluster; returns those to be carried out here."""
    refuse_edited(search.config)
    if own := described(search.config):
        print(printable(f"code of your own: {own}"))
    output_dir = search.config.output_dir
    with one_at_a_time(Path(output_dir).expanduser(), set(search.trials)):
        cluster = Cluster()
        found = trial_states(search, cluster)
        groups = [TrialGroup([folder], search.config) for folder, state in found.items() if state.name in OPEN]
        print(f"search {search.identity}: {len(found)} trials, to do: {len(groups)}", file=sys.stderr)
        if not groups:
            return []
        from .study import open_study  # needs Optuna

        code = code_version()
        try:
            search.folder.mkdir(parents=True, exist_ok=True)
            write_json(search.folder / SEARCH, search.written(code))
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"cannot write into {search.folder} ({reason}); choose another output_dir=DIR") from error
        open_study(search.folder, search.search, search.prunes)
        if search.config.launch.executor == "slurm":
            queue(groups, code, cluster, output_dir)
            return []
        jobs = [job for group in groups for job in group.submit(code)]
        for job in jobs:
            give_sign(job.folder)
        return jobs


class Trial(NamedTuple):
    """What is known of a trial that has begun."""

    number: int
    state: str
    score: float | None
    epochs: int | None
    run: str
    words: list[str]


def search_text(search: PlannedSearch) -> str:
    """The space and the trials of a search so far; once one is complete, the best setting and what to type with it."""
    states_now = trial_states(search)
    begun = [_trial(number, folder, states_now[folder]) for number, folder in enumerate(search.trials)]
    found = [trial for trial in begun if trial is not None]
    done = sum(state.name == DONE for state in states_now.values())
    lines = [f"search {search.identity} in {search.folder}: {done} of {len(begun)} trials done"]
    lines += [f"  {key}: {axis}" for key, axis in search.axes.items()]
    if not search.prunes:
        lines.append("  no trial is stopped: there is no score after every epoch, or none that is better where higher")
    return "\n".join([*lines, *_table(search, found), *_best(search, found)])


def _trial(number: int, folder: Path, state: State) -> Trial | None:
    known = trial_of(folder)
    if "words" not in known:
        return None
    name = known.get("state", state.name)
    return Trial(number, name, known.get("score"), known.get("epochs"), known.get("run", ""), known["words"])


def _table(search: PlannedSearch, found: list[Trial]) -> list[str]:
    rows = [
        (one.number, one.state, "–" if one.score is None else f"{one.score:.4f}", one.epochs, one.run, *one.words)
        for one in found
    ]
    headers = ["trial", "state", search.search.metric, "epochs", "run", *("" for _ in search.axes)]
    return ["", tabulate(rows, headers, tablefmt="plain", disable_numparse=True)] if rows else []


def _best(search: PlannedSearch, found: list[Trial]) -> list[str]:
    """The best trial, the first of equal ones, and the command that trains its setting on all seeds."""
    sign = 1 if better(search.search.metric) == "higher" else -1
    scored = [(sign * one.score, -one.number, one) for one in found if one.score is not None]
    if not scored:
        return ["", f"no trial has a value of {search.search.metric} yet"] if found else []
    best = max(scored)[2]
    return [
        "",
        f"best: trial {best.number}, {search.search.metric} {best.score:.4f} on validation images",
        f"  {shlex.join(best.words)}",
        "all seeds of it, on the test images:",
        f"  {search.final(best.words)}",
    ]

"""Runs of one setting by model: runs that are the same are refused, draws of a probe's shots belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from lt_bench.errors import UsageError
from lt_bench.record.record import SHOT_SEED, RunRecord

T = TypeVar("T")


def of_same_seeds(setting: str, runs: Iterable[str]) -> UsageError:
    """The error for runs of one setting that are the same but for their data, code or machine."""
    said = f"setting {setting} has several runs with the same seeds: {', '.join(runs)}"
    return UsageError(f"{said}; leave all but one out of --runs, or of the folders that are named")


def models(runs: Iterable[T], record: Callable[[T], RunRecord]) -> list[list[T]]:
    """The runs of one setting by split seed and seed, in their order; several of a model are draws of a probe's shots.

    ``record`` gives the record of a run. Raises UsageError for two runs with all seeds alike.
    """
    drawn: dict[tuple[int, int], dict[int, T]] = {}
    for run in runs:
        own = record(run)
        draws = drawn.setdefault((own.split_seed, own.seed), {})
        twin = draws.setdefault(own.settings.get(SHOT_SEED, 0), run)
        if twin is not run:
            raise of_same_seeds(own.setting_id, [record(twin).run_id, own.run_id])
    return [[*draws.values()] for draws in drawn.values()]

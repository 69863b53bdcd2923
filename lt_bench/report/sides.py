"""A side of a comparison: the runs of one setting, by a run's id, a folder or words that select."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_bench.errors import UsageError
from lt_bench.evaluation.predictions import Predictions, load_predictions
from lt_bench.record.collect import Found
from lt_bench.record.record import PREDICTIONS, RunRecord
from lt_bench.report.frame import frame
from lt_bench.report.pivot import APART, differing
from lt_bench.report.reading import on_split, read
from lt_bench.report.sections import Row, rows_of
from lt_bench.report.selection import DEFAULT, chosen, value_of

# what two sides must share, because they are compared on the same images after training on the same ones
SAME_DATA = ("dataset", "imbalance", "imbalance_profile")
DATA = ("dataset", "imbalance", "evaluation")  # the groups of a config that say on what a run was measured


class Side(NamedTuple):
    """The words that name it, its runs as a row of a table, and the runs by id with their folders."""

    text: str
    row: Row
    found: dict[str, Found]

    def first(self) -> Found:
        """A run, for what all have in common."""
        return next(iter(self.found.values()))

    def correct(self, run_ids: str) -> tuple[np.ndarray, Predictions] | None:
        """Which share of some draws has each test image right, (M,) float64, and the predictions of the first.

        None where one has no predictions, or only counts; UsageError where they cannot be read.
        """
        made: list[Predictions] = []
        for run_id in run_ids.split():
            folder = self.found[run_id].folder
            if folder is None:
                return None
            try:
                made.append(load_predictions(folder / PREDICTIONS))
            except ValueError as error:
                raise UsageError(str(error)) from error
            if made[-1].confusion is not None or not np.array_equal(made[-1].labels, made[0].labels):
                return None
        return np.mean([one.correct for one in made], axis=0), made[0]


def read_sides(
    texts: Sequence[str], paths: Sequence[Path], split: str, metrics: Collection[str], anew: bool
) -> list[Side]:
    """The sides that some words name: a path; ``key=value`` words as for --where; or the beginning of a run's id.

    Runs are looked for in ``paths`` where a word is no path. Raises UsageError for what names no runs, or runs of
    several settings, and for sides whose data differ, with what to type.
    """
    stored = [] if all(map(_is_path, texts)) else on_split(read(paths, metrics, anew), split, paths)
    sides = []
    for text in texts:
        found = on_split(read([Path(text)], metrics, anew), split, [Path(text)]) if _is_path(text) else stored
        sides.append(_side(text, found if _is_path(text) else _named(text, found)))
    _require_same_data(sides)
    return sides


def _is_path(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except OSError:  # many words are longer than a name may be
        return False


def _named(text: str, found: Sequence[Found]) -> list[Found]:
    if "=" in text:
        return chosen(found, text.split(), "compare")
    named = [one for one in found if one.record.run_id.startswith(text)] if text else []
    exact = [one for one in named if one.record.run_id == text] or named
    if len(exact) == 1:
        return exact
    what = f"{len(exact)} runs begin with that" if exact else "there is no such folder, and no run of that id"
    raise UsageError(f"compare {text}: {what}; name a run's id or folder, or select runs: 'method=ce stage_two=none'")


def _side(text: str, found: Sequence[Found]) -> Side:
    records = [one.record for one in found]
    if not records:
        raise UsageError(f"compare {text}: there is no finished run")
    for key in (*APART, *differing(records), "setting_id"):
        values = sorted({_typed(key, record) for record in records})
        if len(values) > 1:
            more = " ".join([*([text] if "=" in text else []), f"{key}={values[0]}"])
            raise UsageError(
                f"compare {text}: its runs are of several settings, which differ in {key} ({', '.join(values)}); name "
                f"one, such as '{more}'"
            )
    (row,) = rows_of(frame(records))
    return Side(text, row, {one.record.run_id: one for one in found})


def _typed(key: str, record: RunRecord) -> str:
    """A record's value as it is typed, in one word."""
    value = value_of(key, record)
    if value is None and key not in record.settings:
        return DEFAULT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _require_same_data(sides: Sequence[Side]) -> None:
    one, other = (side.first().record for side in sides)
    keys = {key for record in (one, other) for key in record.settings if key.partition(".")[0] in DATA}
    for key in [*SAME_DATA, *sorted(keys)]:
        first, second = (_typed(key, record) for record in (one, other))
        if first != second:
            raise UsageError(
                f"A has {key} {first}, B has {second}: runs on other data are no pairs; choose runs that share it, "
                f"such as with {key}={first} on both sides"
            )

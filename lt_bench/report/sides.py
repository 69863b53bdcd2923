"""A side of a comparison: the runs of one setting, by a run's id, a folder or words that select."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_bench.errors import UsageError
from lt_bench.evaluation.predictions import Predictions, load_predictions
from lt_bench.record.collect import Found
from lt_bench.record.record import PREDICTIONS, RunRecord
from lt_bench.record.sets import ALL, SET, seen_as, with_sets
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

    @property
    def label(self) -> str:
        """How sentences name it."""
        name = self.first().record.settings.get(SET)
        return f"{self.row.label}, logits {name}" if name else self.row.label

    def first(self) -> Found:
        """A run, for what all have in common."""
        return next(iter(self.found.values()))

    def correct(self, run_ids: str) -> tuple[np.ndarray, Predictions] | None:
        """Which share of some draws has each test image right, (M,) float64, and the predictions of the first.

        None where one has no predictions, or only counts; UsageError where they cannot be read.
        """
        made = self._predictions(run_ids)
        if made is None or any(
            one.confusion is not None or not np.array_equal(one.labels, made[0].labels) for one in made
        ):
            return None
        return np.mean([one.correct for one in made], axis=0), made[0]

    def counted(self, run_id: str) -> Predictions | None:
        """What a run of scenes said, counted by image; None where it has no such predictions; raises as ``correct``."""
        made = self._predictions(run_id)
        return made[0] if made is not None and made[0].by_image is not None else None

    def _predictions(self, run_ids: str) -> list[Predictions] | None:
        made = list[Predictions]()
        for run_id in run_ids.split():
            found = self.found[run_id]
            if found.folder is None:
                return None
            try:
                made.append(seen_as(found.record, load_predictions(found.folder / PREDICTIONS)))
            except ValueError as error:
                raise UsageError(str(error)) from error
        return made


def read_sides(
    texts: Sequence[str], paths: Sequence[Path], split: str, metrics: Collection[str], anew: bool
) -> list[Side]:
    """The sides that some words name: a path; ``key=value`` words as for --where; or the beginning of a run's id.

    With ``logits=SET`` behind it, it is that set of logits of these runs. Runs are looked for in ``paths`` where a word
    is no path. Raises UsageError for what names no runs, or runs of several settings, for a set that a run has not
    stored, and for sides whose data differ, with what to type.
    """
    asked = [_with_set(text) for text in texts]
    stored = [] if all(_is_path(runs) for runs, _ in asked) else on_split(read(paths, metrics, anew), split, paths)
    sides = []
    for text, (runs, name) in zip(texts, asked, strict=True):
        found = on_split(read([Path(runs)], metrics, anew), split, [Path(runs)]) if _is_path(runs) else stored
        found = found if _is_path(runs) else _named(runs, found)
        sides.append(_side(text, _of_set(text, found, name, metrics) if name else found))
    _require_same_data(sides)
    return sides


def _with_set(text: str) -> tuple[str, str | None]:
    """What names the runs of a side, and the set of logits that is asked of them."""
    named = None if _is_path(text) else re.search(rf"(?:^|\s){SET}=(\S+)", text)
    return (text, None) if named is None else (f"{text[: named.start()]}{text[named.end() :]}".strip(), named[1])


def _of_set(text: str, found: Sequence[Found], name: str, metrics: Collection[str]) -> list[Found]:
    """One of the sets of logits of each run, in place of the run."""
    if name == ALL:
        raise UsageError(f"compare {text}: a side is one set of logits; name it, such as {SET}=expert0")
    try:
        made = [one for one in with_sets(found, [name], metrics) if one.record.settings.get(SET) == name]
    except UsageError:  # none has it
        made = []
    if len(made) < len(found):
        raise UsageError(
            f"compare {text}: {len(found) - len(made)} of its runs have no logits of that name; "
            f"report eval RUN --logits {ALL} shows those there are"
        )
    return made


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

"""The records that a report is about, and their folders; each error says what to type."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from lt_bench.command import printable
from lt_bench.errors import UsageError
from lt_bench.record.collect import Found, read_found

ADVICE = "make one with `python -m lt_bench`, or name the folder that holds them with --runs DIR"


def read(paths: Sequence[Path], metrics: Collection[str] | None, anew: bool = False) -> list[Found]:
    """The runs under some paths, stage ones left out; those that could not be compared with predictions are named."""
    unchecked: list[str] = []
    try:
        found = read_found(paths, metrics, anew=anew, unchecked=unchecked)
    except FileNotFoundError as error:
        raise UsageError(f"{error}; {ADVICE}") from None
    if unchecked:
        which = f"{unchecked[0]}{f' and {len(unchecked) - 1:,} more' * (len(unchecked) > 1)}"
        print(printable(f"not compared with predictions, which are not there: {which}"), file=sys.stderr)
    return [one for one in found if one.record.kind == "run"]


def on_split(runs: Sequence[Found], split: str, paths: Sequence[Path]) -> list[Found]:
    """Those that were evaluated on a split; UsageError with what to type if there are none."""
    wanted = [one for one in runs if one.record.evaluated_on == split]
    if not runs:
        raise UsageError(f"no records of finished runs in {', '.join(map(str, paths))}; {ADVICE}")
    if not wanted:
        other = runs[0].record.evaluated_on
        raise UsageError(f"no run was evaluated on the {split} split; add --evaluated-on {other}")
    return wanted

"""The records that a command of the report is about."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence

from lt_bench.command import printable
from lt_bench.errors import UsageError
from lt_bench.record.collect import Found, read_found
from lt_bench.record.record import RunRecord

ADVICE = "make one with `python -m lt_bench`, or name the folder that holds them with --runs DIR"


def read(arguments: argparse.Namespace, metrics: Collection[str] | None) -> list[Found]:
    """All records under ``--runs``, compared with their predictions; says of which that was not possible.

    Raises UsageError for a path that is not there, and as ``read_found``.
    """
    unchecked: list[str] = []
    try:
        found = read_found(arguments.runs, metrics, anew=arguments.verify, unchecked=unchecked)
    except FileNotFoundError as error:
        raise UsageError(f"{error}; {ADVICE}") from None
    if unchecked:
        which = f"{unchecked[0]}{f' and {len(unchecked) - 1:,} more' * (len(unchecked) > 1)}"
        print(printable(f"not compared with predictions, which are not there: {which}"), file=sys.stderr)
    return found


def of_split(runs: Sequence[RunRecord], arguments: argparse.Namespace) -> list[RunRecord]:
    """The records that belong in tables; UsageError with what to type if there are none."""
    wanted = [record for record in runs if record.evaluated_on == arguments.evaluated_on]
    if not runs:
        raise UsageError(f"no records of finished runs in {', '.join(map(str, arguments.runs))}; {ADVICE}")
    if not wanted:
        other = runs[0].evaluated_on
        raise UsageError(f"no run was evaluated on the {arguments.evaluated_on} split; add --evaluated-on {other}")
    return wanted

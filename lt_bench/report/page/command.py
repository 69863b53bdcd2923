"""`python -m lt_bench.report page`: one HTML page of finished runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lt_bench.command import as_called, printable
from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import recorded
from lt_bench.figures.studies import run_of
from lt_bench.files import write_atomic
from lt_bench.record.sets import with_sets
from lt_bench.report.arguments import add_runs, add_sets, add_where
from lt_bench.report.asked import metric_names
from lt_bench.report.baselines import with_baselines
from lt_bench.report.page.document import document
from lt_bench.report.reading import on_split, read
from lt_bench.report.selection import chosen
from lt_bench.report.tables import BALANCE, MEASURED

COMMAND, NAME = "page", "page.html"
EXAMPLES = """examples:
  python -m lt_bench.report page                                      runs/page.html, of all finished runs in runs/
  python -m lt_bench.report page --where dataset=cifar100_lt --metric worst_class nll --out cifar100.html

exit status: 0 done, 1 no records or records that cannot be used, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(
        prog=as_called(f"python -m lt_bench.report {COMMAND}"),
        description="Make one HTML page of finished runs, which needs no network and no other file.",
        epilog=as_called(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_where(add_runs(made))
    add_sets(made)
    more = "show these too; MODULE.NAME for one of your own"
    made.add_argument("--metric", nargs="+", action="extend", default=[], metavar="NAME", help=more)
    made.add_argument("--out", type=Path, metavar="FILE", help=f"the page ({NAME} in the first of --runs)")
    return made


def main(argv: Sequence[str]) -> int:
    """Write the page and print its path; returns 0, raises UsageError or OSError for what cannot be used."""
    arguments = parser().parse_args(argv)
    metrics = metric_names(arguments.metric, parser())
    asked = {*MEASURED, BALANCE, *metrics}
    every = with_sets(read(arguments.runs, asked, arguments.verify), arguments.logits, asked | {*recorded()})
    found = on_split(chosen(every, arguments.where), arguments.evaluated_on, arguments.runs)
    records = with_baselines([one.record for one in found], [one.record for one in every], arguments.where)
    shown = {one.run_id for one in records}
    runs = [one for one in every if one.record.run_id in shown]
    page = document([run_of(one) for one in runs], metrics)
    place = arguments.out or _beside(arguments.runs[0])
    try:
        write_atomic(place, page)
    except OSError as error:
        raise UsageError(f"cannot write {place} ({error.strerror}); name another place with --out FILE") from error
    print(printable(str(place)))
    return 0


def _beside(runs: Path) -> Path:
    return (runs if runs.is_dir() else runs.parent) / NAME

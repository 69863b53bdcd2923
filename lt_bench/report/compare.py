"""`python -m lt_bench.report compare A B`: two settings over pairs of runs with equal seeds."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from lt_bench.command import DONE, as_called, printable
from lt_bench.report.arguments import add_runs
from lt_bench.report.asked import metric_names
from lt_bench.report.comparison import COMPARED, compare
from lt_bench.report.formats import WIDTH
from lt_bench.report.output import add_format, write
from lt_bench.report.sides import read_sides

COMMAND = "compare"
EXAMPLES = """examples:
  python -m lt_bench.report compare 1a2b3c4d5e6f 0f1e2d3c4b5a              two runs in runs/, by their ids
  python -m lt_bench.report compare runs/1a2b3c4d5e6f runs/0f1e2d3c4b5a    or by their folders
  python -m lt_bench.report compare 'method=bcl' 'method=ce stage_two=cb'  all pairs of equal seeds of two settings
  python -m lt_bench.report compare 'method=ride logits=expert0' 'method=ce' what one expert of a run said

exit status: 0 done, 1 runs that cannot be paired, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(
        prog=as_called(f"python -m lt_bench.report {COMMAND}"),
        description="Compare two settings over pairs of runs with equal seed and split seed.",
        epilog=as_called(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "a run's id or folder, or KEY=VALUE words as for --where; with logits=SET that set of its logits"
    for side in "AB":
        made.add_argument(side, help=what)
    add_runs(made)
    made.add_argument("--metric", nargs="+", action="extend", default=[], metavar="NAME", help="compare these too")
    made.add_argument("--out", type=Path, metavar="DIR", help="write the tables there as well")
    add_format(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Print the comparison; returns 0, raises UsageError for what cannot be compared; wrong usage exits with 2."""
    arguments = parser().parse_args(argv)
    more = metric_names(arguments.metric, parser())
    sides = (arguments.A, arguments.B)
    one, other = read_sides(sides, arguments.runs, arguments.evaluated_on, {*COMPARED, *more}, arguments.verify)
    tables, sentences = compare(one, other, more)
    write(tables, arguments.out, arguments.format)
    for sentence in sentences:
        print(textwrap.fill(printable(sentence), WIDTH))
    return DONE

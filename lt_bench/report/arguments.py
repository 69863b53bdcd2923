"""The command line of `python -m lt_bench.report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lt_bench.command import as_called
from lt_bench.record.sets import ALL
from lt_bench.report.output import add_format

EXAMPLES = """examples:
  python -m lt_bench.report                                    tables of all finished runs in runs/
  python -m lt_bench.report --baseline "CE / CB"               and paired differences to a row of the tables
  python -m lt_bench.report --metric worst_class nll           and further columns, for runs made before them too
  python -m lt_bench.report --where dataset=cifar100_lt --rows method --cols imbalance --metric few
  python -m lt_bench.report --published --where dataset=cifar100_lt   what papers report, beside what was run here
  python -m lt_bench.report --export results/records/mine.jsonl   and one file of all records, to keep or pass on
  python -m lt_bench.report --ranks few --figures              average ranks over data sets; and figures beside tables
  python -m lt_bench.report eval RUN...                        every metric of some runs, from their predictions
  python -m lt_bench.report compare 'method=bcl' 'method=ce'   two settings over pairs of runs with equal seeds
  python -m lt_bench.report --runs results/records --out results/tables --pages docs/results/*.md   as published here
  python -m lt_bench.report page                               one HTML page of everything: sort, filter, compare

exit status: 0 done, 1 no records or records that cannot be used, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """Every argument, in groups: which runs count, which tables are made, and where they go."""
    made = argparse.ArgumentParser(
        prog=as_called("python -m lt_bench.report"),
        description="Make tables from the records of finished runs.",
        epilog=as_called(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_where(add_runs(made))
    add_sets(made)
    _tables(made)
    _places(made)
    return made


def add_runs(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The flags that say where runs are, and which of them count; the group that they are in."""
    group = parser.add_argument_group("runs")
    add = group.add_argument
    add("--runs", nargs="+", type=Path, default=[Path("runs")], metavar="PATH", help="folders of runs, or .jsonl files")
    add("--evaluated-on", choices=("test", "validation"), default="test", help="which runs count (%(default)s)")
    add("--verify", action="store_true", help="compare all records with their predictions anew, not only changed files")
    return group


def add_where(group: argparse._ArgumentGroup) -> None:
    """The flag that chooses among the runs."""
    group.add_argument(
        "--where", nargs="+", default=[], metavar="KEY=VALUE", help="only these, such as method=sbcl,bcl train.lr=0.1"
    )


def add_sets(parser: argparse.ArgumentParser) -> None:
    """The flag that shows single experts and branches."""
    parser.add_argument(
        "--logits",
        nargs="+",
        default=[],
        metavar="SET",
        help=f"rows of these sets of logits of each run too, such as expert0; {ALL}: every one",
    )


def _tables(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("tables").add_argument
    add(
        "--metric",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="show these too, such as worst_class or nll; MODULE.NAME for one of your own",
    )
    add("--ece", dest="metric", action="append_const", const="ece", help="short for --metric ece")
    add(
        "--baseline",
        nargs="+",
        default=[],
        metavar="ROW",
        help='labels of rows to compare the others with, such as "CE / CB"',
    )
    add(
        "--ranks",
        nargs="*",
        metavar="NAME",
        help="and a table of average ranks over data sets by each of these metrics (top1), with Nemenyi's test",
    )
    add("--cost", action="store_true", help="and tables of seconds, images per second, memory and GPU hours")
    add(
        "--published", action="store_true", help="tables of published results beside ours instead, and of those not run"
    )
    add(
        "--rows",
        nargs="+",
        metavar="KEY",
        help="a table of --metric instead, with the values of these keys in its rows",
    )
    add("--cols", metavar="KEY", help="and those of this one in its columns")


def _places(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    add = group.add_argument
    add("--out", type=Path, metavar="DIR", help="where tables go (tables/ beside the first of --runs)")
    add_format(group)
    add(
        "--figures",
        nargs="*",
        metavar="KIND",
        help="and figures beside the tables, of these kinds or all; Markdown tables and pages show them",
    )
    add("--export", type=Path, metavar="FILE", help="collect the records into one .jsonl file, to be checked by others")
    add(
        "--pages",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="refresh the tables between the <!-- table: NAME --> markers of these pages",
    )

"""``python -m lt_bench.figures``: figures of finished runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lt_bench.command import DONE, FAILED, as_called, exit_status, printable
from lt_bench.errors import UsageError
from lt_bench.figures.kind import kinds
from lt_bench.figures.studies import read_studies
from lt_bench.figures.style import FORMATS
from lt_bench.figures.write import write_figures

EXAMPLES = """examples:
  python -m lt_bench.figures runs                               every figure that the runs in a folder allow
  python -m lt_bench.figures runs --kind group_bars --format png
  python -m lt_bench.figures runs --rows "CE / CB" SBCL         those rows alone whose label has such a text in it
  python -m lt_bench.figures results/records/digits_demo.jsonl --kind class_accuracy

Runs on other data, or evaluated otherwise, have figures of their own. Files are named STUDY_KIND.FORMAT.
exit status: 0 done, 1 no figure was possible, 2 wrong usage
"""


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<20}{kind.about}" for name, kind in kinds().items())
    parser = argparse.ArgumentParser(
        prog=as_called("python -m lt_bench.figures"),
        description=f"Make figures (PNG and SVG) of finished runs.\n\nkinds of figures:\n{listed}",
        epilog=as_called(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", nargs="*", type=Path, default=[Path("runs")], metavar="RUN_OR_FOLDER", help="folders or .jsonl (runs)")
    add("--kind", nargs="+", choices=[*kinds()], metavar="NAME", help="these kinds alone (all that are possible)")
    add("--rows", nargs="+", default=[], metavar="TEXT", help="rows alone whose label has one of these texts in it")
    add(
        "--logits",
        nargs="+",
        default=[],
        metavar="SET",
        help="rows of these sets of logits too, such as expert0, or all",
    )
    add("--out", type=Path, metavar="DIR", help="where figures go (figures/ in the first folder)")
    add("--format", nargs="+", choices=FORMATS, default=list(FORMATS), metavar="NAME", help="png, svg (both)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Make the figures; returns the exit status: 0 done, 1 none was possible (wrong usage exits with 2)."""
    return exit_status(lambda: _make(_parser().parse_args(argv)), goes_on=False)


def _make(arguments: argparse.Namespace) -> int:
    try:
        studies = read_studies(arguments.runs, arguments.rows, arguments.logits)
    except FileNotFoundError as error:
        raise UsageError(f"{error}; name a run folder, a folder of runs or a .jsonl file of records") from error
    if not studies:
        wanted = f" whose label has one of {arguments.rows} in it" if arguments.rows else ""
        raise UsageError(f"no finished run{wanted} in {', '.join(map(str, arguments.runs))}")
    first = arguments.runs[0]
    out = arguments.out or (first if first.is_dir() else first.parent) / "figures"
    done = FAILED
    for written in write_figures(studies, arguments.kind or kinds(), out, arguments.format):
        for path in written.paths:
            print(printable(str(path)), flush=True)
        done = DONE
    return done


if __name__ == "__main__":
    sys.exit(main())

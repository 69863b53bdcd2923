"""Where tables go: files in some formats, and the terminal."""

from __future__ import annotations

import sys
from argparse import _ActionsContainer
from collections.abc import Sequence
from pathlib import Path

from lt_bench.errors import UsageError
from lt_bench.files import write_atomic
from lt_bench.report.formats import FORMATS, as_text
from lt_bench.report.tables import Table


def add_format(parser: _ActionsContainer) -> None:
    """The flag that names the formats of files."""
    parser.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=["markdown", "csv"],
        metavar="NAME",
        help=f"the files to write, of {', '.join(FORMATS)} (markdown and csv)",
    )


def write(tables: Sequence[Table], folder: Path | None, formats: Sequence[str]) -> None:
    """Print tables, and write them where there is a folder; UsageError with what to type where that takes none."""
    refused: OSError | None = None
    for table in tables:
        try:
            for suffix, content in map(FORMATS.__getitem__, formats if folder else ()):
                write_atomic(Path(folder or ".", f"{table.name}.{suffix}"), content(table))
        except OSError as error:
            refused = error
        print(as_text(table))
    if refused:
        raise UsageError(f"cannot write tables into {folder} ({refused.strerror}); name another place with --out DIR")
    if folder:
        word = "table is" if len(tables) == 1 else "tables are"
        print(f"lt_bench: {len(tables)} {word} in {folder}", file=sys.stderr)

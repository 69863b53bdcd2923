"""Figures beside tables: each belongs to the first table that is made of all its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lt_bench.errors import UsageError
from lt_bench.figures.kind import kinds
from lt_bench.figures.studies import studies_of
from lt_bench.figures.style import FORMATS
from lt_bench.figures.write import Written, write_figures
from lt_bench.record.collect import Found
from lt_bench.report.ranks import NAME
from lt_bench.report.tables import Table


def illustrated(tables: Sequence[Table], runs: Sequence[Found], asked: Sequence[str], out: Path) -> list[Table]:
    """The tables with the figures of some kinds, all where none is asked for, which are written into a folder.

    Raises UsageError for a kind that there is not.
    """
    if unknown := [name for name in asked if name not in kinds()]:
        raise UsageError(f"--figures {unknown[0]}: it takes {', '.join(kinds())}")
    found: dict[str, list[tuple[str, str]]] = {table.name: [] for table in tables}
    for written in write_figures(studies_of(runs), asked or kinds(), out, FORMATS):
        path = next(path for path in written.paths if path.suffix == ".svg")
        named = " of ".join(filter(None, [written.kind.replace("_", " "), written.name]))
        shown = f"{named}, {written.study.title}" if written.study else named
        for name in _of(written, tables)[:1]:
            found[name].append((path.name, shown))
    return [replace(table, figures=found[table.name]) for table in tables]


def _of(written: Written, tables: Sequence[Table]) -> list[str]:
    """The names of the tables that a figure belongs to: of its runs, or of the ranks that it shows."""
    if written.study is None:
        return [table.name for table in tables if table.name == NAME.format(written.name)]
    own = {run.record.run_id for row in written.study.rows for run in row.runs}
    return [table.name for table in tables if "runs" in table.values and own <= _runs(table)]


def _runs(table: Table) -> set[str]:
    return {run_id for text in table.values["runs"] for run_id in text.split()}

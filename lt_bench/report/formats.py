"""The formats of a table: Markdown and CSV, LaTeX, HTML, Parquet, and what a terminal shows."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from lt_bench.command import printable
from lt_bench.errors import UsageError
from lt_bench.report.escape import latex
from lt_bench.report.tables import Table

if TYPE_CHECKING:
    from rich.table import Table as Grid

WIDTH, LEAST_LABEL, SPACE = 100, 24, 3  # columns of a terminal: of a table, a label, and between two columns
PARQUET = "Parquet needs pyarrow: pip install 'lt_bench[parquet]'"


class Format(NamedTuple):
    """The suffix of a file, and a function of a table that gives its content."""

    suffix: str
    content: Callable[[Table], str | bytes]


def as_latex(table: Table) -> str:
    """A table of LaTeX with the rules of booktabs; its caption and label stand in it, and it compiles by itself.

    A document that takes it in needs booktabs, and fontenc with T1 for signs such as quotation marks.
    """
    cells = table.marked(latex, r"\textbf{{}}")
    lines = [" & ".join(row) + r" \\" for row in cells.itertuples(index=False)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(table.spoken())}}}",
            rf"\label{{tab:{_label(table.name)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(cells.columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(latex, cells.columns)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\raggedright\footnotesize {latex(note)}" for note in table.notes),
            r"\end{table}",
            "",
        ]
    )


def as_html(table: Table) -> str:
    """A table of HTML with its caption; the first cell of a row is its heading."""
    cells = table.marked(lambda text: escape(printable(text)), "<b>{}</b>")
    head = "".join(f'<th scope="col">{escape(printable(column))}</th>' for column in cells.columns)
    rows = [
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in cells.itertuples(index=False)
    ]
    caption = escape(printable(table.spoken()))
    notes = [f"<p>{escape(printable(note))}</p>" for note in table.notes]
    return "\n".join(["<table>", f"<caption>{caption}</caption>", f"<tr>{head}</tr>", *rows, "</table>", *notes, ""])


def as_parquet(table: Table) -> bytes:
    """The unrounded values of a table's CSV as Parquet; UsageError where pyarrow is not installed."""
    stream = io.BytesIO()
    try:
        table.values.to_parquet(stream, index=False, engine="pyarrow")
    except ImportError:
        raise UsageError(PARQUET) from None
    return stream.getvalue()


def as_text(table: Table) -> str:
    """Caption and cells for a terminal, at most ``WIDTH`` columns wide; ``*`` marks the cells that stand out.

    Labels are wrapped, numbers never: columns that do not fit stand in further tables below.
    """
    from rich.console import Console  # for those alone who look at a table
    from rich.text import Text

    cells = table.marked(printable, "{} *")
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
    caption = printable(table.spoken().replace("bold: the best", "*: the best"))
    notes = [Text(printable(note)) for note in table.notes]
    console.print(Text(caption), *(_grid(cells[columns]) for columns in _fitting(cells)), *notes, sep="\n")
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _fitting(cells: pd.DataFrame) -> list[list[str]]:
    """The columns in groups that fit beside the labels, in their order; each group begins with the labels."""
    first, *others = cells.columns
    room, groups = 0, list[list[str]]()
    for column in others:
        needed = _width(cells[column]) + SPACE
        if not groups or needed > room:
            groups.append([first])
            room = WIDTH - LEAST_LABEL - SPACE
        groups[-1].append(column)
        room -= needed
    return groups or [[first]]


def _width(column: pd.Series) -> int:
    """The least number of signs that no number and no word of the heading is wrapped in."""
    return max(map(len, [*column, *str(column.name).split()]))


def _grid(cells: pd.DataFrame) -> Grid:
    """The cells of some columns; the first is wrapped, the others keep their lines."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for place, column in enumerate(cells.columns):
        width = _width(cells[column]) if place else None
        grid.add_column(Text(printable(column)), justify="right" if place else "left", width=width, overflow="fold")
    for row in cells.itertuples(index=False):
        grid.add_row(*map(Text, row))
    return grid


def _label(name: str) -> str:
    return "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in name)


FORMATS = {
    "markdown": Format("md", Table.markdown),
    "csv": Format("csv", Table.csv),
    "latex": Format("tex", as_latex),
    "html": Format("html", as_html),
    "parquet": Format("parquet", as_parquet),
}

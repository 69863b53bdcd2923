"""The table of all rows, which sorts and filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from lt_bench.evaluation.metrics import METRICS
from lt_bench.record.conditions import shortened, word
from lt_bench.report.page.details import Shown
from lt_bench.report.page.markup import Cell, link, scrolled, text
from lt_bench.report.tables import ACCURACIES, Table, marked

FILTERED = ("data set", "factor", "method", "stage two", "budget")


class Column(NamedTuple):
    """The heading of a column, what a row has in it (HTML), and whether it is shown where all rows have the same."""

    name: str
    value: Callable[[Shown], str]
    always: bool = False


COLUMNS = [
    Column("method", lambda one: text(shortened(one.row.fields["method_name"])), True),
    Column("stage two", lambda one: text(shortened(one.row.fields["stage_two_name"])), True),
    Column("settings", lambda one: text(_settings(one))),
    Column("data set", lambda one: text(word(one.section.fields["dataset"])), True),
    Column("factor", lambda one: _factor(one.section.fields["imbalance_factor"]), True),
    Column("profile", lambda one: text(word(one.section.fields["imbalance_profile"]))),
    Column("backbone", lambda one: text(word(one.section.fields["backbone"]))),
    Column("budget", lambda one: text(word(one.section.fields["budget"])), True),
    Column("fidelity", lambda one: text(one.row.fields["fidelity"])),
    Column("checkpoint", lambda one: text(one.row.fields["selection"])),
    Column("groups", lambda one: text(word(one.row.fields["group_rule"]))),
    Column("labels", lambda one: "probe" if one.section.fields["probe"] else "own"),
]


def _factor(factor: float) -> str:
    return "native" if pd.isna(factor) else f"{factor:g}"


def _settings(one: Shown) -> str:
    """What a row's label has beside its method and rule, and the conditions of its table."""
    fields = one.row.fields
    name = f"{shortened(fields['method_name'])} / {shortened(fields['stage_two_name'])}"
    return ", ".join([*filter(None, [marked(one.row).removeprefix(name).strip(", ")]), *one.section.conditions])


def overview(rows: Sequence[Shown], tables: Sequence[Table], metrics: Sequence[str]) -> str:
    """Filters, how many rows they leave, and the table; ``tables`` have the numbers of the rows in their order."""
    values = {column.name: [column.value(one) for one in rows] for column in COLUMNS}
    shown = [column for column in COLUMNS if column.always or len(set(values[column.name])) > 1]
    same = [f"{column.name}: {values[column.name][0]}" for column in COLUMNS if column not in shown]
    names = [*dict.fromkeys([*ACCURACIES, *metrics])]
    heads = [*(column.name for column in shown), *(METRICS[name].column for name in names), "runs"]
    cells = [cell for table in tables for cell in _numbers(table, names)]
    body = [_row(one, [values[column.name][one.place] for column in shown], cells[one.place]) for one in rows]
    caption = (
        "Accuracy in %, mean ± sample standard deviation over runs. Bold: the best of its own table below, and what "
    )
    caption += "cannot be told from it. Numbers in one column are comparable within one table alone"
    told = f"{caption}. Of all rows: {'; '.join(filter(None, same))}." if any(same) else f"{caption}."
    filters = "".join(_filter(name, heads.index(name), values[name]) for name in FILTERED)
    head = "".join(f'<th scope="col" aria-sort="none"><button type="button">{text(name)}</button>' for name in heads)
    made = f'<table id="rows"><caption>{told}</caption><thead><tr>{head}<tbody>{"".join(body)}</table>'
    return f"""<fieldset><legend>Show rows</legend>{filters}
<label>with the words <input type="search" id="words"></label>
<button type="button" id="all">Show all</button></fieldset>
<p id="count" role="status">{len(rows)} of {len(rows)} rows</p>
{scrolled(made, "All rows")}"""


def _filter(name: str, column: int, values: Sequence[str]) -> str:
    options = "".join(f"<option>{value}" for value in sorted(set(values), key=_place))
    return f'<label>{name} <select data-column="{column}"><option value="">all{options}</select></label>'


def _place(value: str) -> tuple[float, str]:
    return (float(value), "") if value.replace(".", "", 1).isdigit() and value.isascii() else (float("inf"), value)


def _row(one: Shown, values: Sequence[str], numbers: Sequence[Cell]) -> str:
    label = text(f"{marked(one.row)}, {one.section.name}")
    first = f'<a href="#{one.id}" aria-label="{label}">{values[0] or "–"}</a>'
    rest = "".join(f"<td>{value}" for value in values[1:])
    measured = "".join(f"<td {cell.attributes}>{cell.shown}" for cell in numbers)
    return f'<tr><th scope="row">{first}{rest}{measured}<td>{link(one.id, str(len(one.runs)))}'


def _numbers(table: Table, names: Sequence[str]) -> list[list[Cell]]:
    """The cells of each row of a table, with their values to sort by."""
    columns = [METRICS[name].column for name in names]
    cells = table.marked(text, "<b>{}</b>")[columns]
    means = table.values[[f"{name}_mean" for name in names]]
    return [
        [
            Cell(shown, "" if pd.isna(mean) else f'data-v="{mean:.4f}"')
            for shown, mean in zip(texts, values, strict=True)
        ]
        for texts, values in zip(
            cells.itertuples(index=False, name=None), means.itertuples(index=False, name=None), strict=True
        )
    ]

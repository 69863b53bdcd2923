"""The table of all rows, which sorts and filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from lt_bench.evaluation.metrics import METRICS
from lt_bench.record.conditions import shortened
from lt_bench.report.page.details import Shown
from lt_bench.report.page.markup import Cell, link, scrolled, text
from lt_bench.report.tables import Table, main_metrics, marked

FILTERED = ("data set", "factor", "method", "stage two", "budget")  # these stand before the numbers

ABOUT = (
    "Accuracy in %, mean ± sample standard deviation over runs; bold: the best of its table, and what cannot be told "
    "from it. Rows of one table can be compared: they agree in data and budget, and differ in what the columns say."
)


class Column(NamedTuple):
    """The heading of a column, and what a row has in it (HTML)."""

    name: str
    value: Callable[[Shown], str]


COLUMNS = [
    Column("method", lambda one: text(one.row.fields["method_name"])),
    Column("stage two", lambda one: text(one.row.fields["stage_two_name"])),
    Column("settings", lambda one: text(_settings(one))),
    Column("data set", lambda one: text(one.section.fields["dataset"])),
    Column("factor", lambda one: _factor(one.section.fields["imbalance_factor"])),
    Column("profile", lambda one: text(one.section.fields["imbalance_profile"])),
    Column("backbone", lambda one: text(one.section.fields["backbone"])),
    Column("budget", lambda one: text(one.section.fields["budget"])),
    Column("epochs", lambda one: text(one.row.fields["epochs"])),
    Column("fidelity", lambda one: text(one.row.fields["fidelity"])),
    Column("checkpoint", lambda one: text(one.row.fields["selection"])),
    Column("groups", lambda one: text(one.row.fields["group_rule"])),
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
    several = [column.name for column in COLUMNS if len(set(values[column.name])) > 1 or column.name in FILTERED]
    alike = {column.name: values[column.name][0] for column in COLUMNS if column.name not in several}
    same = [f"{name} {value}" for name, value in alike.items() if value]
    before = [name for name in several if name in (*FILTERED, "settings")]
    after = [name for name in several if name not in before]
    names = [*dict.fromkeys([name for one in rows for name in main_metrics(one.section)] + [*metrics])]
    heads = [*before, *(METRICS[name].column for name in names), "runs", *after]
    cells = [cell for table in tables for cell in _numbers(table, names)]
    before_of, after_of = (zip(*map(values.__getitem__, part), strict=True) for part in (before, after))
    body = map(_row, rows, before_of, cells, after_of if after else [()] * len(rows))
    about = f"{ABOUT} Of all rows: {', '.join(same)}." if same else ABOUT
    filters = "".join(_filter(name, heads.index(name), values[name]) for name in FILTERED)
    head = "".join(f'<th scope="col" aria-sort="none"><button type="button">{text(name)}</button>' for name in heads)
    made = f'<table id="rows"><caption>All rows of all tables</caption><thead><tr>{head}<tbody>{"".join(body)}</table>'
    return f"""<fieldset><legend>Show rows</legend>{filters}
<div class="field"><label for="words">with the words</label><input type="search" id="words"></div>
<button type="button" id="all">Show all</button></fieldset>
<p>{about}</p>
<p id="count" role="status">{len(rows)} of {len(rows)} rows</p>
{scrolled(made, "All rows")}"""


def _filter(name: str, column: int, values: Sequence[str]) -> str:
    options = "".join(f"<option>{value}" for value in sorted(set(values), key=_place))
    select = f'<select id="column-{column}" data-column="{column}"><option value="">all{options}</select>'
    return f'<div class="field"><label for="column-{column}">{name}</label>{select}</div>'


def _place(value: str) -> tuple[float, str]:
    return (float(value), "") if value.replace(".", "", 1).isdigit() and value.isascii() else (float("inf"), value)


def _row(one: Shown, before: Sequence[str], numbers: Sequence[Cell], after: Sequence[str]) -> str:
    label = text(f"{marked(one.row)}, {one.section.name}")
    first = f'<a href="#{one.id}" aria-label="{label}">{before[0] or "–"}</a>'
    measured = "".join(f"<td {cell.attributes}>{cell.shown}" for cell in numbers)
    runs = f'<td data-v="{len(one.runs)}">{link(one.id, str(len(one.runs)))}'
    told, more = ("".join(f"<td>{value}" for value in part) for part in (before[1:], after))
    return f'<tr><th scope="row">{first}{told}{measured}{runs}{more}'


def _numbers(table: Table, names: Sequence[str]) -> list[list[Cell]]:
    """The cells of each row of a table, with their values to sort by."""
    shown = table.marked(text, "<b>{}</b>").reindex(columns=[METRICS[name].column for name in names], fill_value="–")
    means = table.values.reindex(columns=[f"{name}_mean" for name in names]).to_numpy()
    return [list(map(_number, *both)) for both in zip(shown.to_numpy(), means, strict=True)]


def _number(shown: str, mean: float) -> Cell:
    return Cell(shown, "" if pd.isna(mean) else f'data-v="{mean:.4f}"')

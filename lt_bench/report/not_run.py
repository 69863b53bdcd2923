"""Tables of published results of which no run is here, one for each data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

import pandas as pd

from lt_bench.published.entries import Published, Spread
from lt_bench.record.order import order_of, title_of
from lt_bench.report.tables import LABEL, Table

EXPLAINED = (
    "published results that are not run here: accuracy on all test images in % by imbalance; of several figures the "
    "lowest and the highest, and how many there are. The CSV file has each with its source."
)


def not_run_tables(entries: Iterable[Published]) -> list[Table]:
    """A table for every data set of some published results: methods in rows, imbalances in columns."""
    ordered = sorted(entries, key=lambda one: (one.dataset, *_place(one)))
    return [_table(dataset, [*group]) for dataset, group in groupby(ordered, key=lambda one: one.dataset)]


def _table(dataset: str, entries: list[Published]) -> Table:
    heads = sorted({one.imbalance: one.factor or 0.0 for one in entries}.items(), key=lambda item: item[1])
    cells = []
    for label, group in groupby(entries, key=_label):
        same = [*group]
        figures = {head: [one.all for one in same if one.imbalance == head] for head, _ in heads}
        cells.append({LABEL: label, **{head: _range(found) for head, found in figures.items()}})
    name = f"{dataset}_published_not_run"
    return Table(name, [f"{dataset}, {EXPLAINED}"], pd.DataFrame(cells), pd.DataFrame(map(_values, entries)))


def _label(entry: Published) -> str:
    """Method and stage two with what tells the result from one of the plain method on the plain test set."""
    rule = title_of("stage_two", entry.stage_two) if entry.stage_two else "not stated"
    shots = f"{entry.shots} shots" if entry.shots else None
    more = [entry.variant, entry.test_distribution and f"test set {entry.test_distribution}", shots]
    return ", ".join([f"{title_of('method', entry.method)} / {rule}", *filter(None, more)])


def _place(entry: Published) -> tuple[Any, ...]:
    return order_of("method", title_of("method", entry.method), None), entry.method, _label(entry), entry.id


def _range(found: list[float | None]) -> str:
    known = sorted(one for one in found if one is not None)
    if not known:
        return f"groups alone ({len(found)})" if found else ""
    ends = "–".join(f"{one:g}" for one in dict.fromkeys([known[0], known[-1]]))
    return ends if len(found) == 1 else f"{ends} ({len(found)})"


def _values(entry: Published) -> dict[str, Any]:
    found = {**asdict(entry), **{f"{name}_spread": getattr(entry.spread, name, None) for name in Spread._fields}}
    del found["spread"]
    return {"published": found.pop("id"), **found}

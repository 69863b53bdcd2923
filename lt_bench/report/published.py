"""Tables of published beside reproduced: ours, theirs, the difference, and in what the protocols differ."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from lt_bench.evaluation.metrics import METRICS
from lt_bench.evaluation.shots import GROUPS
from lt_bench.published.entries import Published
from lt_bench.published.missing import EVERYTHING, Missing, missing
from lt_bench.record.order import title_of
from lt_bench.report.matching import beside
from lt_bench.report.not_run import not_run_tables
from lt_bench.report.protocol import differences
from lt_bench.report.sections import Row, Section
from lt_bench.report.tables import ACCURACIES, LABEL, Table, cell, footnotes, marked, number, origin, title

ALL = "top1"
FIELD = {ALL: "all"}  # of a published result, by metric, where the names are not the same
EXPLAINED = (
    "Published beside reproduced: accuracy in %, ours as mean ± sample standard deviation over n runs, theirs as the "
    "source has it, and ours less theirs in percentage points."
)
NOT_FOUND, NOT_KNOWN = "none found", "none known"  # somebody has looked, as missing.yaml says; nobody says so
SILENT = (
    f"{NOT_FOUND}: somebody has looked for a published figure, and there was none; {NOT_KNOWN}: nobody has looked, or "
    "what is known is of a variant."
)


class Pair(NamedTuple):
    """A row of ours and a published result of the same; None where there is none."""

    row: Row
    entry: Published | None


def published_tables(sections: Iterable[Section], asked: Iterable[Published]) -> list[Table]:
    """A table of every section with what is published of its rows, then tables of what was asked for and not run."""
    parts = [*sections]
    here = {pair.entry for part in parts for pair in pairs_of(part)}
    return [*map(published_table, parts), *not_run_tables(one for one in asked if one not in here)]


def pairs_of(section: Section) -> list[Pair]:
    """Every row of a section with each of its published results, in the order of the rows."""
    found = ((row, beside(section, row)) for row in section.rows)
    return [Pair(row, entry) for row, entries in found for entry in (*entries, *[None] * (not entries))]


def published_table(section: Section) -> Table:
    """A line for every row of a section and each of its published results; notes say whence and how they differ."""
    pairs = pairs_of(section)
    entries = [*dict.fromkeys(pair.entry for pair in pairs if pair.entry)]
    shown = [ALL, *(name for name in GROUPS if any(_theirs(one, name) is not None for one in entries))]
    cells, values, notes = [], [], list[str]()
    for row, entry in pairs:
        origin = f"[{len(notes) + 1}]" if entry else _absent(section, row)
        said = differences(section, row, entry) if entry else []
        cells.append({LABEL: f"{marked(row)}: {origin}", "n": str(len(row.runs)), **_cells(row, entry, shown)})
        values.append(_values(section, row, entry, said))
        if entry:
            notes.append(f"{origin} {source(entry)}: {'; '.join(said)}.")
    absent = [SILENT] * any(pair.entry is None for pair in pairs)
    caption = [f"{title(section)} {EXPLAINED}", *absent, *footnotes(section)]
    further = [*_conflicts(pairs), *_not_published(section.fields["dataset"], section.fields["imbalance"])]
    name = f"{section.name}_published"
    return Table(name, caption, pd.DataFrame(cells), pd.DataFrame(values), notes=[*notes, *further])


def source(entry: Published) -> str:
    """Where a published result comes from, and who ran it how many times, in words."""
    runs = f", {entry.seeds} run{'s' * (entry.seeds > 1)}" if entry.seeds else ""
    spread = f", spread: {entry.spread_kind}" if entry.spread else ""
    note = f", {entry.note}" if entry.note else ""
    who = entry.run_by.replace("_", " ")
    return f"{entry.label}, {entry.source}, {entry.where} ({who}, {entry.certainty}{runs}{spread}{note})"


def _theirs(entry: Published | None, name: str) -> float | None:
    found: float | None = getattr(entry, FIELD.get(name, name), None)
    return found


def _spread(entry: Published | None, name: str) -> float | None:
    found: float | None = getattr(entry.spread, FIELD.get(name, name)) if entry and entry.spread else None
    return found


def _difference(row: Row, entry: Published | None, name: str) -> float:
    """Ours less theirs in percentage points; NaN where one is not known, or groups are others, or may be."""
    theirs = _theirs(entry, name)
    if entry is None or theirs is None or (name != ALL and entry.groups != row.fields["group_rule"]):
        return float("nan")
    return 100 * float(row.runs[name].mean(skipna=False)) - theirs


def _cells(row: Row, entry: Published | None, shown: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in shown:
        points, column = 100 * row.runs[name], METRICS[name].column
        theirs, spread = _theirs(entry, name), _spread(entry, name)
        found[column] = cell(points.mean(skipna=False), points.std(ddof=1, skipna=False), ".1f")
        told = "–" if theirs is None else f"{theirs:g}"
        found[f"{column}, theirs"] = told if spread is None else f"{told} ± {spread:g}"
        found[f"{column}, difference"] = number(_difference(row, entry, name), "+.1f")
    return found


def _values(section: Section, row: Row, entry: Published | None, said: list[str]) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for name in ACCURACIES:
        points = 100 * row.runs[name]
        measured |= {f"{name}_mean": points.mean(skipna=False), f"{name}_std": points.std(ddof=1, skipna=False)}
        measured |= {f"{name}_theirs": _theirs(entry, name), f"{name}_theirs_spread": _spread(entry, name)}
        measured[f"{name}_difference"] = _difference(row, entry, name)
    seeds = {"n": len(row.runs), "seeds": row.runs["seed"].nunique(), "splits": row.runs["split_seed"].nunique()}
    runs = " ".join(row.runs["run_ids"])
    there = {key: getattr(entry, key, None) for key in ("source", "where", "run_by", "certainty")}
    identity = {"published": entry.id if entry else _absent(section, row), **there, "protocol": "; ".join(said)}
    return {"label": row.key, **row.fields, **origin(section, row), **seeds, **measured, **identity, "runs": runs}


def _conflicts(pairs: list[Pair]) -> list[str]:
    """A line for every row of which sources have different figures on all images, with the figures and the sources."""
    lines, count = [], 0
    for row, group in groupby(pairs, key=lambda pair: pair.row.label):
        entries = [pair.entry for pair in group if pair.entry]
        numbered = [(one, place) for place, one in enumerate(entries, start=count + 1) if one.all is not None]
        count += len(entries)
        if len({one.all for one, _ in numbered}) > 1:
            ordered = sorted(numbered, key=lambda pair: (pair[0].all, pair[1]))
            figures = ", ".join(f"{one.all:g} [{place}]" for one, place in ordered)
            lines.append(f"Sources of {row} have different figures on all images: {figures}.")
    return lines


def _absent(section: Section, row: Row) -> str:
    """What stands instead of a source: whether somebody has looked for one."""
    first = row.runs.iloc[0]
    looked = any(
        (cell.method, cell.missing) == (first["method"], EVERYTHING) and cell.stage_two in (None, first["stage_two"])
        for cell in _missing(section.fields["dataset"], section.fields["imbalance"])
    )
    return NOT_FOUND if looked else NOT_KNOWN


def _not_published(dataset: str, imbalance: str) -> list[str]:
    """Lines on the cells of a data set and imbalance of which nothing, or no groups, were found."""
    cells = _missing(dataset, imbalance)
    none = [_name(cell) for cell in cells if cell.missing == EVERYTHING]
    groups = [_name(cell) for cell in cells if cell.missing != EVERYTHING]
    lines = [f"Nothing published was found of {', '.join(none)}."] * bool(none)
    return lines + [f"No many, medium and few were found of {', '.join(groups)}."] * bool(groups)


def _missing(dataset: str, imbalance: str) -> list[Missing]:
    return [cell for cell in missing() if (cell.dataset, cell.imbalance) == (dataset, imbalance)]


def _name(cell: Missing) -> str:
    return f"{title_of('method', cell.method)} / {title_of('stage_two', cell.stage_two) if cell.stage_two else 'any'}"

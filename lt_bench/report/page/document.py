"""The page: one file that needs no other one and no network, the same for the same records."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any

from lt_bench.evaluation.metrics import METRICS
from lt_bench.figures.studies import Run
from lt_bench.figures.style import COLOURS
from lt_bench.record.conditions import shortened
from lt_bench.report.frame import frame
from lt_bench.report.page.details import MOST_LINES, Shown, config, details, fineness, shared_config, shown
from lt_bench.report.page.markup import anchor, block, data, link, plain, text, words
from lt_bench.report.page.overview import overview
from lt_bench.report.page.pairs import MOST, pairs
from lt_bench.report.page.published import published
from lt_bench.report.page.stage_one import stage_one
from lt_bench.report.page.tested import MATRIX, PAIRS
from lt_bench.report.page.training import RUNS
from lt_bench.report.sections import Section, sections
from lt_bench.report.tables import ACCURACIES, Table, accuracy_table, marked

LONG, SHOWN, LONGEST = 700, 90, 20_000  # characters of a paragraph, of what is shown of a longer one, and at most
# of the palette of all figures, in light and in dark
SERIES = {"ONE": (COLOURS[0], COLOURS[6]), "TWO": (COLOURS[1], COLOURS[5])}


def document(runs: Sequence[Run], metrics: Sequence[str] = ()) -> str:
    """The page of some runs, as HTML, with further ``metrics`` as columns; raises UsageError as ``sections`` does."""
    parts = sections(frame([run.record for run in runs]))
    rows = shown(parts, {run.record.run_id: run for run in runs})
    tables = [accuracy_table(part, metrics) for part in parts]
    fine = fineness(len(rows))
    script, style = _file("page.js"), Template(_file("page.css")).substitute(_colours())
    told = [
        _section(part, made, [one for one in rows if one.table == number], fine)
        for number, (part, made) in enumerate(zip(parts, tables, strict=True))
    ]
    return Template(_file("page.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        about=f"{_count(rows, 'row')} of {_count(runs, 'run')} in {_count(parts, 'table')}",
        contents="".join(f"<li>{link(anchor('table', part.name), text(part.name))}" for part in parts),
        overview=overview(rows, tables, metrics),
        tables="".join(told),
        stage_one=stage_one(runs),
        bounds=_bounds(fine),
        pairs=data(_comparisons(parts, rows)),
    )


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things):,} {name}{'s' * (len(things) != 1)}"


def _bounds(fine: int) -> str:
    """What is left out so that the page keeps its size, in words."""
    return (
        f"Of more than {fine} classes, neighbouring ones are shown together; of more than {MATRIX}, the confusions are "
        f"the {PAIRS} largest. Curves have {fine} points at most, of up to {RUNS} runs; a config has {MOST_LINES} "
        f"settings at most. The first {MOST:,} pairs of rows can be compared."
    )


def _section(part: Section, made: Table, rows: Sequence[Shown], fine: int) -> str:
    """A table's caption, its rows one by one, and what is published beside them."""
    name = anchor("table", part.name)
    shared = shared_config(rows)
    settings = block(line for line in config(rows[0]) if line in shared)
    told = f'<div id="{anchor("settings", part.name)}" tabindex="-1">{settings}</div>'
    parts = [
        f'<h2 id="{name}" tabindex="-1">{text(part.name)}</h2>',
        *map(_paragraph, made.caption),
        *map(_paragraph, made.notes),
        f"<details><summary>Config of all rows</summary>{told}</details>" * bool(shared),
        *(details(one, fine, shared) for one in rows),
        f'<details class="published"><summary><h3>Published results</h3></summary>{published(rows)}</details>',
    ]
    return f'<section aria-labelledby="{name}">{"".join(parts)}</section>'


def _paragraph(told: str) -> str:
    """A part of a caption; where it is long, it is shown when somebody asks for it."""
    if len(told) <= LONG:
        return f"<p>{words(told)}</p>"
    head, cut = told[:SHOWN].rpartition(" ")[0], " … The configs of the rows have the rest." * (len(told) > LONGEST)
    return f"<details><summary>{words(head)} …</summary><p>{words(told[:LONGEST])}{cut}</p></details>"


def _comparisons(parts: Sequence[Section], rows: Sequence[Shown]) -> dict[str, Any]:
    """What the comparison of two rows looks up: the rows by table, and their paired differences; how many are left out.

    The pairs of a table are named by the places of its rows in it.
    """
    room, tables = MOST, []
    for number, part in enumerate(parts):
        found = pairs(part, room)
        room -= len(found)
        own = [one for one in rows if one.table == number]
        labels = [[shortened(plain(marked(one.row))), one.id, len(one.row.runs)] for one in own]
        tables.append({"name": shortened(part.name), "rows": labels, "pairs": found})
    return {"metrics": [METRICS[name].column for name in ACCURACIES], "tables": tables, "full": room <= 0}


def _colours() -> dict[str, str]:
    return {name: f"light-dark({light}, {dark})" for name, (light, dark) in SERIES.items()}


def _hash(content: str) -> str:
    """What a browser compares a style or a script with, so that it runs no other one."""
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (files("lt_bench.report.page") / name).read_text(encoding="utf-8")

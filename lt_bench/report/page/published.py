"""Published figures beside the rows of a table, each with its protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from lt_bench.evaluation.metrics import METRICS
from lt_bench.published.entries import Published
from lt_bench.report.matching import beside
from lt_bench.report.page.details import Shown
from lt_bench.report.page.markup import Cell, link, scrolled, table, text, words
from lt_bench.report.tables import ACCURACIES, marked, number

HEADS = ["result", *(METRICS[name].column for name in ACCURACIES), "groups", "epochs", "backbone", "checkpoint", "runs"]
HEADS += ["from"]


def published(rows: Sequence[Shown]) -> str:
    """A table for each method and rule of a section of which results are published; says where there are none.

    Which stand beside a row is what ``matching`` says, as in the tables; what differs from the row is marked in its
    cell, and said where it has none.
    """
    parts, without = [], []
    for name in dict.fromkeys(map(_name, rows)):
        ours = [one for one in rows if _name(one) == name]
        entries = [*dict.fromkeys(entry for one in ours for entry in beside(one.section, one.row))]
        if entries:
            made = table(text(name), HEADS, [*map(_own, ours), *(_entry(one, ours) for one in entries)])
            parts.append(scrolled(made, f"Published beside {text(name)}"))
        else:
            without.append(name)
    none = f"<p>Nothing published is known here of {text(', '.join(without))}.</p>" if without else ""
    return "".join(parts) + none


def _name(one: Shown) -> str:
    record = one.runs[0].record
    return f"{record.method_name} / {record.stage_two_name}"


def _protocol(one: Shown) -> dict[str, str]:
    fields, settings = one.row.fields, json.loads(one.row.fields["settings"])
    epochs = settings.get("train.epochs", "default")
    named = {"groups": fields["group_rule"], "epochs": epochs, "backbone": one.section.fields["backbone"]}
    return {key: str(value) for key, value in named.items()} | {"checkpoint": fields["selection"]}


def _own(one: Shown) -> list[str | Cell]:
    means = 100 * one.row.runs[list(ACCURACIES)].mean(skipna=False)
    spread = 100 * one.row.runs[list(ACCURACIES)].std(ddof=1, skipna=False)
    measured = [f"{number(means[name])} ± {number(spread[name])}" for name in ACCURACIES]
    told = [*map(text, _protocol(one).values()), str(len(one.runs))]
    return [link(one.id, text(marked(one.row))), *measured, *told, "these runs"]


def _entry(entry: Published, ours: Sequence[Shown]) -> list[str | Cell]:
    measured = [number(float("nan") if value is None else value) for value in (
        entry.many, entry.medium, entry.few, entry.all)]  # fmt: skip
    theirs = {"groups": entry.groups, "epochs": entry.epochs, "backbone": entry.backbone, "checkpoint": entry.select}
    own = [_protocol(one) for one in ours]
    told = [_told(value, {one[key] for one in own}) for key, value in theirs.items()]
    where = f"{entry.source}, {entry.where} ({entry.run_by}, {entry.certainty})"
    told_of = words("; ".join(filter(None, [where, _difference(entry, ours), entry.protocol, entry.note])))
    return [text(entry.label), *measured, *told, str(entry.seeds or "–"), told_of]


def _told(value: object, own: set[str]) -> str | Cell:
    """A value of the source; one that none of our rows has is marked."""
    if value is None:
        return "not known"
    return text(value) if str(value) in own else Cell(f"{text(value)} ≠", "class=differs")


def _difference(entry: Published, ours: Sequence[Shown]) -> str:
    """Ours less theirs in all, where there is one row of ours, and whether they are of other images."""
    mean, split = 100 * ours[0].row.runs["top1"].mean(skipna=False), ours[0].section.fields["evaluated_on"]
    known = entry.all is not None and len(ours) == 1 and not pd.isna(mean)
    far = [f"ours is {mean - entry.all:+.1f} points"] if known and entry.all is not None else []
    other = [f"{split} images here, {entry.evaluated_on} images there"] * (entry.evaluated_on != split)
    return "; ".join([*far, *other])

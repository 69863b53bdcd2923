"""The page of the record: the keys of ``record.json``, and the metrics in it."""

from __future__ import annotations

import ast
import json
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from lt_bench.config.annotations import wanted
from lt_bench.config.signatures import docstrings
from lt_bench.evaluation.metrics import METRICS, Metric
from lt_bench.record.record import SCHEMA, RunRecord

from .markdown import block, code, page, prose, table

EXAMPLES = Path(__file__).parents[2] / "results" / "records" / "fashion_study.jsonl"


def record_page() -> str:
    """The keys of a record with their kinds, what they mean, an example, and every metric."""
    return page(
        "# The record of a run",
        f"`record.json` in a run folder, and a line of the files in `results/records`: schema {SCHEMA}. Records of "
        "older schemas stay readable: what they lack is empty. Unknown keys of newer ones are left out.",
        table(["key", "holds", "needed", "compared"], map(_row, fields(RunRecord))),
        "Needed: a record without it is refused. Compared: it must agree when a run is repeated.",
        prose(docstrings("lt_bench.record.record.RunRecord")[0].partition("\n\n")[2]),
        "## An example",
        _example(),
        "## Metrics",
        "Below `metrics`, fractions from 0 to 1 where the unit is %; `python -m lt_bench.report --metric NAME` shows "
        "any of them, also those that records do not have, from `predictions.npz`.",
        table(
            ["metric", "column", "unit", "better", "in records", "meaning"],
            [_metric(name, one) for name, one in METRICS.items()],
        ),
    )


def _row(item: Field[Any]) -> list[str]:
    needed = item.default is MISSING and item.default_factory is MISSING
    holds = ", ".join(item.metadata.get("allowed", ())) or wanted(ast.parse(str(item.type), mode="eval").body)
    return [code(item.name), holds, "yes" if needed else "no", "yes" if item.compare else "no"]


def _metric(name: str, one: Metric) -> list[str]:
    meaning = (one.function.__doc__ or "").partition("\n\n")[0]
    return [code(name), one.column, one.unit, one.better or "–", "yes" if one.recorded else "no", prose(meaning)]


def _example() -> str:
    records = map(json.loads, EXAMPLES.read_text(encoding="utf-8").splitlines())
    newest = max(records, key=lambda record: record["schema"])
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in newest.items()]
    return block("{\n" + ",\n".join(lines) + "\n}", "json")

"""Paired differences: every row against one baseline, over the seeds that both have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lt_bench.evaluation.metrics import METRICS
from lt_bench.record.conditions import file_name
from lt_bench.report.leaders import GROUPED
from lt_bench.report.sections import EPOCHS, Row, Section
from lt_bench.report.statistics import differences, independent, interval
from lt_bench.report.tables import Table, footnotes, leading, main_metrics, marked, number, rules, shown_unit, title


def baseline_label(text: str) -> str:
    """The label that a user means: a method alone means its row without stage two."""
    return text if " / " in text else f"{text} / –"


def paired(row: Row, baseline: Row, names: Sequence[str]) -> pd.DataFrame:
    """Row minus baseline in the units of tables, such as percentage points; see ``statistics.differences``.

    What depends on groups is NaN where the two rows group their classes by different rules.
    """
    points = differences(row.runs, baseline.runs, names) * [shown_unit(name)[0] for name in names]
    if row.fields["group_rule"] != baseline.fields["group_rule"]:
        points[[name for name in names if name in GROUPED]] = float("nan")
    return points


def paired_table(section: Section, baseline: str) -> Table | None:
    """Differences of all rows to the row with the label or key ``baseline``; None if the section has no such row."""
    base = next((row for row in section.rows if baseline in (row.label, row.key)), None)
    if base is None:
        return None
    cells, values, merged = [], [], False
    compared = main_metrics(section)[-2:]
    columns = {name: METRICS[name].column for name in compared}
    for row in section.rows:
        if row is base:
            continue
        points = paired(row, base, compared).rename(columns=columns)
        units = independent(points)
        merged |= len(units) < len(points)
        statistics = {column: interval(units[column]) for column in columns.values()}
        count = f"{len(points)} ({len(units)} splits)" if len(units) < len(points) else str(len(points))
        cells.append({**leading(section, row), **_texts(statistics), "pairs": count})
        flat = {f"{column}_{key}": value for column, part in statistics.items() for key, value in part.items()}
        values.append({"label": row.key, "baseline": base.key, "pairs": len(points), "n": len(units), **flat})
    if not cells:
        return None
    caption = [f"{title(section)} {_explain(section, _named(section, base), merged)}", *footnotes(section)]
    slug = "_".join(re.findall(r"[a-z0-9]+", base.key.lower()))
    name = file_name(f"{section.name}_vs_{slug}", 200)
    return Table(name, caption, pd.DataFrame(cells), pd.DataFrame(values))


def _named(section: Section, base: Row) -> str:
    """The baseline as the caption names it, with its epochs where rows differ in them: it has no row of its own."""
    return marked(base) + f" (epochs {base.fields[EPOCHS]})" * (EPOCHS in section.differing())


def _texts(statistics: dict[str, dict[str, float]]) -> dict[str, Any]:
    texts = {}
    for column, part in statistics.items():
        known = not pd.isna(part["difference"])
        texts[column] = f"{number(part['difference'], '+.1f')} ± {number(part['std'])}" if known else "–"
        texts[f"{column}, 95 % CI"] = between((part["low"], part["high"]), ".1f")
    return texts


def between(ends: tuple[float, float], form: str) -> str:
    """An interval of a difference for a cell; a dash where it is not known."""
    return "–" if pd.isna(ends[0]) else f"[{number(ends[0], f'+{form}')}, {number(ends[1], f'+{form}')}]"


def _explain(section: Section, baseline: str, merged: bool) -> str:
    splits = (
        " Runs that share a split are not independent: where there are several splits, a split counts once, with its "
        "mean over seeds."
    )
    what = (
        f"Difference to {baseline} in percentage points over runs with equal seed and split seed: "
        "mean ± sample standard deviation, 95 % confidence interval (Student t)"
    )
    return f"{'; '.join([what, *rules(section)])}.{splits if merged else ''}"

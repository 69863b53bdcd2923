"""Paired differences of any two rows of a table, for the page to look up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lt_bench.report.leaders import GROUPED
from lt_bench.report.sections import SEEDS, Row, Section
from lt_bench.report.statistics import independent, interval
from lt_bench.report.tables import ACCURACIES

MOST = 20_000  # pairs of a page, about 60 bytes each


def pairs(section: Section, room: int = MOST) -> dict[str, list[Any]]:
    """Of two rows I < J, under "I-J": number of pairs, of independent ones, and of each of ``ACCURACIES`` a difference.

    A difference is row I minus row J in percentage points over runs with equal seeds: a list of its mean and the ends
    of the 95 % interval (``interval``), a number where there is one independent pair; None where it is not known. Rows
    without common seeds are left out, and so is what is after the first ``room`` pairs.
    """
    found: dict[str, list[Any]] = {}
    values = [_by_seeds(row) for row in section.rows]
    for first, one in enumerate(values):
        alike: dict[tuple[Any, ...], list[int]] = {}
        for second in range(first + 1, len(values)):
            alike.setdefault(tuple(sorted(one.keys() & values[second].keys())), []).append(second)
        for seeds, others in alike.items():
            if seeds:
                index = pd.MultiIndex.from_tuples(seeds, names=SEEDS)
                cells = [[one[seed] - values[second][seed] for second in others] for seed in seeds]
                units = independent(pd.DataFrame(np.array(cells).reshape(len(seeds), -1), index))
                told = iter([_told(units[column]) for column in units])
                for second in others:
                    mine = [next(told) for _ in ACCURACIES]
                    found[f"{first}-{second}"] = [len(seeds), len(units), *_known(mine, section, first, second)]
    kept = sorted(found, key=lambda key: tuple(map(int, key.split("-"))))[:room]
    return {key: found[key] for key in kept}


def _by_seeds(row: Row) -> dict[tuple[int, int], np.ndarray]:
    """The ``ACCURACIES`` of each run in percent, by its seeds."""
    points = 100 * row.runs.set_index(SEEDS)[list(ACCURACIES)]
    return dict(zip(points.index.tolist(), points.to_numpy(), strict=True))


def _known(told: list[Any], section: Section, first: int, second: int) -> list[Any]:
    """The differences, less those of groups that two rows have by different rules."""
    rules = {section.rows[place].fields["group_rule"] for place in (first, second)}
    return [None if len(rules) > 1 and name in GROUPED else one for name, one in zip(ACCURACIES, told, strict=True)]


def _told(values: pd.Series) -> list[float] | float | None:
    """Mean and ends of the interval, to a hundredth of a point; the mean alone where there is no interval."""
    if len(values) == 1:
        (only,) = values.tolist()
        return None if pd.isna(only) else _short(only)
    found = interval(values)
    return None if pd.isna(found["low"]) else [_short(found[key]) for key in ("difference", "low", "high")]


def _short(value: float) -> float:
    return round(value, 2) or float(f"{value:.1g}")  # what is not 0 does not become it

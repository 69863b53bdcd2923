"""Paired differences of any two rows of a table, for the page to look up."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from lt_bench.report.leaders import GROUPED
from lt_bench.report.sections import SEEDS, Section
from lt_bench.report.statistics import independent, interval
from lt_bench.report.tables import ACCURACIES

MOST = 20_000  # pairs of a page, about 60 bytes each


def pairs(section: Section, room: int = MOST) -> dict[str, list[Any]]:
    """Of two rows I < J, under "I-J": number of pairs, of independent ones, and of each of ``ACCURACIES`` a difference.

    A difference is row I minus row J in percentage points over runs with equal seeds: its mean, and the ends of the
    95 % interval (``interval``) where there are several independent ones; None where it is not known. Rows without
    common seeds are left out, and so is what is after the first ``room`` pairs.
    """
    found: dict[str, list[Any]] = {}
    points = [100 * row.runs.set_index(SEEDS)[list(ACCURACIES)] for row in section.rows]
    for first, one in enumerate(points):
        common = [(second, one.index.intersection(points[second].index)) for second in range(first + 1, len(points))]
        alike = sorted(((seeds.tolist(), second) for second, seeds in common if len(seeds)), key=itemgetter(0))
        for seeds, members in groupby(alike, key=itemgetter(0)):
            others = [second for _, second in members]
            values = _differences(one, {second: points[second] for second in others}, seeds)
            units = independent(values)
            for second in others:
                different = section.rows[first].fields["group_rule"] != section.rows[second].fields["group_rule"]
                told = [None if different and name in GROUPED else _told(units[second, name]) for name in ACCURACIES]
                found[f"{first}-{second}"] = [len(values), len(units), *told]
    kept = sorted(found, key=lambda key: tuple(map(int, key.split("-"))))[:room]
    return {key: found[key] for key in kept}


def _differences(one: pd.DataFrame, others: dict[int, pd.DataFrame], seeds: list[Any]) -> pd.DataFrame:
    """One row less each of some others on the same seeds; columns (other, metric)."""
    side = pd.concat({number: other.loc[seeds] for number, other in others.items()}, axis=1)
    return np.tile(one.loc[seeds].to_numpy(), len(others)) - side


def _told(values: pd.Series) -> list[float] | None:
    """Mean and ends of the interval, to a hundredth of a point; the mean alone where there is no interval."""
    if len(values) == 1:
        return None if pd.isna(values.iloc[0]) else [round(float(values.iloc[0]), 2)]
    found = interval(values)
    return None if pd.isna(found["low"]) else [round(found[key], 2) for key in ("difference", "low", "high")]

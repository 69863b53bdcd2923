"""Which cells of a table are the best of their column, and which cannot be told from these."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import isnan

import numpy as np
from numpy.typing import NDArray

from lt_bench.evaluation.metrics import METRICS
from lt_bench.report.sections import Section
from lt_bench.report.statistics import BySeeds, interval, mean_and_spread

GROUPED = ("many", "medium", "few", "group_std")  # which depend on the rule that chose the groups
EXPLAINED = (
    "bold: the best of a column, and what cannot be told from it (95 % interval of the paired difference spans zero)"
)


def leaders(section: Section, names: Sequence[str]) -> list[set[str]]:
    """The metrics in which each row of a section leads, alone or with others, of those named.

    The row with the best mean leads, and every row whose paired difference to it, over runs with equal seeds, has a
    95 % interval (Student t) that holds zero; fewer than two independent pairs tell nothing, so that the best stands
    alone. Nothing leads where the budget is "smoke", there is one row, the groups were chosen by several rules, or
    nobody says whether high or low is better. Rows whose checkpoints were chosen on the test set are left out.
    """
    leading: list[set[str]] = [set() for _ in section.rows]
    fair = [place for place, row in enumerate(section.rows) if row.fields["selection"] != "best_test"]
    if len(fair) < 2 or section.fields["budget"] == "smoke":
        return leading
    metrics = {place: BySeeds.of(section.rows[place].runs, names) for place in fair}
    averages = {place: mean_and_spread(metrics[place].points)[0] for place in fair}

    @cache
    def less_than(best: int, place: int) -> NDArray[np.float64]:
        return metrics[place].less(metrics[best]).units()

    for column, name in enumerate(names):
        if not METRICS[name].better or (name in GROUPED and "group_rule" in section.differing()):
            continue
        sign = 1.0 if METRICS[name].better == "higher" else -1.0
        means = {place: sign * float(averages[place][column]) for place in fair}
        known = {place: mean for place, mean in means.items() if not isnan(mean)}
        if not known:
            continue
        best = max(known, key=known.__getitem__)
        for place in known:
            equal = known[place] == known[best]
            if equal or _cannot_be_told(less_than(best, place)[:, column]):
                leading[place].add(name)
    return leading


def _cannot_be_told(differences: NDArray[np.float64]) -> bool:
    """Whether the independent paired differences of two rows in a metric, two at least, may have mean zero."""
    found = interval(differences)
    return len(differences) > 1 and found["low"] <= 0 <= found["high"]  # never of NaN

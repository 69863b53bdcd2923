"""Statistics of paired differences between two settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lt_bench.evaluation.paired import RESAMPLES, span
from lt_bench.report.sections import SEEDS


def differences(ours: pd.DataFrame, theirs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Metrics of our runs less those of theirs, one line per pair of runs with equal seeds, which are the index."""
    return paired(*(by_seeds(side, names) for side in (ours, theirs)))


def by_seeds(runs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Metrics of runs with their seeds as the index."""
    return runs[[*SEEDS, *names]].set_index(SEEDS)


def paired(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """As ``differences``, of metrics by seeds."""
    if one.index.equals(other.index):
        return one - other
    return (one - other.reindex(one.index))[one.index.isin(other.index)]


def independent(points: pd.DataFrame) -> pd.DataFrame:
    """The differences that may be taken as independent.

    Runs on one split share their data: with several split seeds a split counts once, with its mean over seeds, which is
    not known where one of its runs does not have the metric.
    """
    if points.index.get_level_values("split_seed").nunique() < 2:
        return points
    by_split = points.groupby(level="split_seed")
    return by_split.mean().where(points.notna().groupby(level="split_seed").all())


def interval(values: pd.Series) -> dict[str, float]:
    """Mean, sample standard deviation, and the 95 % confidence interval (Student t) of independent values."""
    n, mean, std = len(values), values.mean(skipna=False), values.std(ddof=1, skipna=False)
    half = stdtrit(n - 1, 0.975) * std / n**0.5 if n > 1 else float("nan")
    exact = {"difference": mean, "std": std, "low": mean - half, "high": mean + half}
    return {key: round(float(value), 9) + 0.0 for key, value in exact.items()}  # no rounding noise, no minus zero


def bootstrap(values: pd.Series) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of independent values, drawn anew 10,000 times; NaN for less than two.

    The draws are the same for equally many values. Source: Efron, 1979.  Deviation: none.
    """
    points = values.to_numpy(np.float64)
    if len(points) < 2:
        return float("nan"), float("nan")
    drawn = np.random.RandomState(0).randint(len(points), size=(RESAMPLES, len(points)))
    return span(points[drawn].mean(axis=1))

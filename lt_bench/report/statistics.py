"""Statistics of paired differences between two rows of a table."""

from __future__ import annotations

import pandas as pd
from scipy.special import stdtrit


def independent(points: pd.DataFrame) -> pd.DataFrame:
    """The differences that may be taken as independent.

    Runs on one split share their data: with several split seeds a split counts once, with its mean over seeds.
    """
    by_split = points.groupby(level="split_seed").mean()
    return by_split if len(by_split) > 1 else points


def interval(values: pd.Series) -> dict[str, float]:
    """Mean, sample standard deviation, and the 95 % confidence interval (Student t) of independent values."""
    n, mean, std = len(values), values.mean(skipna=False), values.std(ddof=1, skipna=False)
    half = stdtrit(n - 1, 0.975) * std / n**0.5 if n > 1 else float("nan")
    exact = {"difference": mean, "std": std, "low": mean - half, "high": mean + half}
    return {key: round(float(value), 9) + 0.0 for key, value in exact.items()}  # no rounding noise, no minus zero

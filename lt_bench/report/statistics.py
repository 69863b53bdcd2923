"""Statistics of paired differences between two settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from lt_bench.evaluation.paired import RESAMPLES, span
from lt_bench.report.sections import SEEDS


def points_of(runs: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Metrics of runs, (runs, metrics)."""
    return np.column_stack([runs[name].to_numpy(np.float64) for name in names])


class BySeeds(NamedTuple):
    """Metrics of runs, (runs, metrics), and the split seed and the seed of each."""

    seeds: list[tuple[int, int]]
    points: NDArray[np.float64]

    @classmethod
    def of(cls, runs: pd.DataFrame, names: Sequence[str]) -> BySeeds:
        """Those of a frame of runs, each with seeds of its own."""
        return cls([*zip(*(runs[name].tolist() for name in SEEDS), strict=True)], points_of(runs, names))

    def less(self, other: BySeeds) -> BySeeds:
        """The differences to the metrics of others, one line per pair of runs with equal seeds, in the order here."""
        if self.seeds == other.seeds:
            return BySeeds(self.seeds, self.points - other.points)
        places = {seeds: place for place, seeds in enumerate(other.seeds)}
        mine = [place for place, seeds in enumerate(self.seeds) if seeds in places]
        seeds = [self.seeds[place] for place in mine]
        theirs = [places[one] for one in seeds]
        return BySeeds(seeds, self.points[mine] - other.points[theirs])

    def units(self) -> NDArray[np.float64]:
        """The points that may be taken as independent.

        Runs on one split share their data: with several split seeds a split counts once, with its mean over seeds,
        which is not known where one of its runs does not have the metric.
        """
        places: dict[int, list[int]] = {}
        for place, (split, _) in enumerate(self.seeds):
            places.setdefault(split, []).append(place)
        if len(places) < 2:
            return self.points
        return np.stack([self.points[places[split]].mean(axis=0) for split in sorted(places)])


def differences(ours: pd.DataFrame, theirs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Metrics of our runs less those of theirs, one line per pair of runs with equal seeds, which are the index."""
    found = BySeeds.of(ours, names).less(BySeeds.of(theirs, names))
    index = pd.MultiIndex.from_arrays([[seeds[level] for seeds in found.seeds] for level in (0, 1)], names=SEEDS)
    return pd.DataFrame(found.points, index, [*names])


def independent(points: pd.DataFrame) -> pd.DataFrame:
    """The ``BySeeds.units`` of points whose index has the seeds."""
    return pd.DataFrame(BySeeds(points.index.tolist(), points.to_numpy(np.float64)).units(), columns=points.columns)


def mean_and_spread(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sample standard deviation (ddof 1) over the first axis, NaN where a point or all are not known."""
    unknown = np.full(points.shape[1:], np.nan)
    mean = points.mean(axis=0) if len(points) else unknown
    return mean, points.std(axis=0, ddof=1) if len(points) > 1 else unknown


def interval(values: pd.Series | NDArray[np.float64]) -> dict[str, float]:
    """Mean, sample standard deviation, and the 95 % confidence interval (Student t) of independent values."""
    points = np.asarray(values, np.float64)
    n, (mean, std) = len(points), map(float, mean_and_spread(points))
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

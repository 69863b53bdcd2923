"""Two classifiers on the same test images: where only one is right, and how far other images would move the difference.

Resampling draws from NumPy's frozen generator, so that equal predictions give equal numbers.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.special import bdtr

RESAMPLES = 10_000
LEVEL = (2.5, 97.5)  # percentiles that 95 % lie between


def span(resampled: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of resampled values (R,), without rounding noise; NaN where one is not known."""
    low, high = np.percentile(resampled, LEVEL)
    return round(float(low), 9) + 0.0, round(float(high), 9) + 0.0


def mcnemar(only_ours: int, only_theirs: int) -> float:
    """Exact two-sided p-value of as many images that only one of two classifiers has right; 1 where there are none.

    Source: McNemar, Psychometrika 1947, with the binomial distribution instead of its approximation.
    """
    total = only_ours + only_theirs
    return min(1.0, 2 * float(bdtr(min(only_ours, only_theirs), total, 0.5))) if total else 1.0


def image_interval(values: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    """95 % interval of the sum of ``values`` if other test images had been drawn, as many of each stratum.

    Shapes: values (M,) float64, the difference that each image makes, on the scale of the result; strata (M,) int64,
    its class. Values with the other sign give the other interval. Deviations of a stratum of n images are widened by
    sqrt(n / (n - 1)), so that few images a class do not look certain; a stratum with a single one says nothing of its
    spread and adds none.
    Source: Efron, 1979, and the factor from Rao and Wu, JASA 1988.  Deviation: none.
    """
    inside = values[values != 0]
    if not len(inside):
        return 0.0, 0.0
    sign = float(np.sign(values.sum()) or np.sign(inside[0]))
    random, total = np.random.RandomState(0), np.zeros(RESAMPLES)
    for (found, counts), times in _patterns(sign * values, strata).items():
        images = sum(counts)
        mean = float(np.dot(found, counts))
        total += times * mean
        if len(found) > 1:
            # strata alike are drawn together: sums of multinomial counts of one distribution are such counts
            drawn = random.multinomial(times * images, np.array(counts) / images, size=RESAMPLES)
            total += (drawn @ np.array(found) - times * mean) * np.sqrt(images / (images - 1))
    low, high = span(total)
    return (low, high) if sign > 0 else (0.0 - high, 0.0 - low)


Pattern = tuple[tuple[float, ...], tuple[int, ...]]


def _patterns(values: np.ndarray, strata: np.ndarray) -> Counter[Pattern]:
    """Different values and how often each is in a stratum -> the number of such strata, in the order of strata."""
    order = np.argsort(strata, kind="stable")
    _, first = np.unique(strata[order], return_index=True)
    found: Counter[Pattern] = Counter()
    for part in np.split(values[order], first[1:]):
        different, counts = np.unique(part, return_counts=True)
        found[tuple(different.tolist()), tuple(counts.tolist())] += 1
    return found

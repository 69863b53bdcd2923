"""Average ranks of methods over several data sets, with the tests of Friedman and Nemenyi.

Source: Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006.  Deviation: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lt_bench.errors import UsageError

LEAST_METHODS, LEAST_BLOCKS = 3, 2  # of two methods a paired comparison says more, and one block has no spread
FEW_BLOCKS = 10  # below which both distributions are rough
LEVEL = 0.05
NAMED = 4  # blocks, or methods, that a message names


class Ranking(NamedTuple):
    """Methods from the best mean rank to the worst, over the blocks that have all of them.

    ``ranks`` (N, K) float64 of N blocks and K methods, 1 is best, ties share; ``mean`` (K,). ``statistic`` and ``p``
    are Friedman's, ``distance`` is the critical difference of Nemenyi's test at 5 %, and ``against_best`` (K,) its
    p-values against the first method. ``left_out`` names what the other blocks lack, ``unranked`` the methods that one
    block alone has.
    """

    methods: list[str]
    blocks: list[str]
    ranks: np.ndarray
    mean: np.ndarray
    statistic: float
    p: float
    distance: float
    against_best: np.ndarray
    left_out: dict[str, list[str]]
    unranked: list[str]

    @property
    def leading(self) -> int:
        """How many of the first methods cannot be told from the best; 0 where Friedman's test tells none apart."""
        return int((self.mean - self.mean[0] < self.distance).sum()) if self.p < LEVEL else 0


def ranking(scores: Mapping[str, Mapping[str, float]], better: str = "higher") -> Ranking:
    """Rank methods by their scores, block -> method -> score, over the blocks that have all methods.

    Methods are those that at least two blocks have. ``better`` is "higher" or "lower". Raises UsageError for fewer than
    three methods or two such blocks, with what is missing.
    """
    methods, unranked = _methods(scores)
    missing = {block: [name for name in methods if name not in found] for block, found in scores.items()}
    blocks = [block for block, lacking in missing.items() if not lacking]
    _require_enough(methods, blocks, missing)
    from scipy.stats import rankdata, studentized_range  # half a second of start-up

    sign = -1.0 if better == "higher" else 1.0
    # rounded, so that means over seeds that differ by noise alone share a rank
    table = np.array([[round(sign * scores[block][name], 12) for name in methods] for block in blocks])
    ranks = rankdata(table, axis=1)
    order = np.lexsort((methods, ranks.mean(axis=0).round(12)))
    ranks = ranks[:, order]
    mean, (n, k) = ranks.mean(axis=0), ranks.shape
    statistic, p = _friedman(ranks)
    scale = np.sqrt(k * (k + 1) / (6 * n)) / np.sqrt(2)
    against_best = studentized_range.sf((mean - mean[0]) / scale, k, np.inf)
    return Ranking(
        methods=[methods[place] for place in order],
        blocks=blocks,
        ranks=ranks,
        mean=mean,
        statistic=statistic,
        p=p,
        distance=float(studentized_range.ppf(1 - LEVEL, k, np.inf) * scale),
        against_best=np.clip(against_best, 0, 1),
        left_out={block: lacking for block, lacking in missing.items() if lacking},
        unranked=unranked,
    )


def _methods(scores: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[str]]:
    """The methods that several blocks have, and those of one alone, in the order in which they are found."""
    every = [name for found in scores.values() for name in found]
    several = {name: every.count(name) > 1 for name in every}
    return [name for name, yes in several.items() if yes], [name for name, yes in several.items() if not yes]


def _friedman(ranks: np.ndarray) -> tuple[float, float]:
    """Friedman's statistic, corrected for ties, and its p-value by the chi-squared distribution."""
    from scipy.stats import friedmanchisquare

    if (ranks == ranks[:, :1]).all():  # every block is one tie: nothing differs
        return 0.0, 1.0
    found = friedmanchisquare(*ranks.T)
    return float(found.statistic), float(found.pvalue)


def _require_enough(methods: list[str], blocks: list[str], missing: Mapping[str, list[str]]) -> None:
    if len(methods) >= LEAST_METHODS and len(blocks) >= LEAST_BLOCKS:
        return
    needed = f"average ranks need {LEAST_METHODS} methods and {LEAST_BLOCKS} data sets or factors that have all of them"
    if len(methods) < LEAST_METHODS:
        if len(missing) < LEAST_BLOCKS:
            raise UsageError(f"{needed}, and here {'is one' if missing else 'are none'} of the latter")
        raise UsageError(f"{needed}; on two or more of {len(missing)} there is only {some(methods) or 'none'}")
    lacking = "; ".join(f"{block} lacks {some(names)}" for block, names in [*missing.items()][:NAMED] if names)
    raise UsageError(
        f"{needed}; all {len(methods)} are only on {some(blocks) or 'none'} ({lacking}): choose methods that more of "
        "them have, or train what is missing"
    )


def some(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = [f"{len(names) - NAMED} more"] * (len(names) > NAMED)
    return ", ".join([*names[:NAMED], *more])

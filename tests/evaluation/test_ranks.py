"""Average ranks: Friedman's test against a plain reference, Nemenyi's against published constants."""

import numpy as np
import pytest
from scipy import stats

from lt_bench.errors import UsageError
from lt_bench.evaluation.ranks import ranking

# Demšar, JMLR 2006, Table 5(a): q at 5 % for 2 to 10 classifiers, less the first
DEMSAR = {3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


def scores(table):
    return {f"b{n}": {f"m{k}": float(value) for k, value in enumerate(row)} for n, row in enumerate(table)}


def slow_friedman(ranks):
    """Sums of ranks by hand, with the correction for ties (Hollander and Wolfe)."""
    n, k = len(ranks), len(ranks[0])
    sums = [sum(row[j] for row in ranks) for j in range(k)]
    ties = sum(list(row).count(value) ** 3 - list(row).count(value) for row in ranks for value in set(row))
    spread = n * k * (k + 1) - ties / (k - 1)
    return 12 * sum((one - n * (k + 1) / 2) ** 2 for one in sums) / spread


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_that_of_a_plain_sum(ties):
    table = np.random.RandomState(2).rand(7, 4) + np.arange(4) * 0.2
    found = ranking(scores(table.round(1) if ties else table))
    assert found.statistic == pytest.approx(slow_friedman(found.ranks.tolist()))
    assert found.p == pytest.approx(stats.chi2.sf(found.statistic, 3))
    assert found.methods[0] == "m3" and found.mean.tolist() == sorted(found.mean) and found.mean.sum() == 10


@pytest.mark.parametrize(("k", "q"), DEMSAR.items())
def test_the_critical_difference_is_that_of_the_published_table(k, q):
    found = ranking(scores(np.random.RandomState(k).rand(9, k)))
    assert found.distance / np.sqrt(k * (k + 1) / (6 * 9)) == pytest.approx(q, abs=1.1e-3)


def test_a_method_a_critical_difference_behind_has_the_p_value_of_the_level():
    found = ranking(scores([[3, 2, 1]] * 12))
    assert found.leading == 1 and found.mean.tolist() == [1, 2, 3]
    order = [behind >= found.distance for behind in found.mean - found.mean[0]]
    assert order == [p <= 0.05 for p in found.against_best] and found.against_best[0] == 1


def test_the_other_direction_turns_the_order_and_equal_scores_tell_nothing():
    table = np.random.RandomState(0).rand(5, 3)
    up, down = (ranking(scores(table), better) for better in ("higher", "lower"))
    assert up.methods == down.methods[::-1] and up.statistic == pytest.approx(down.statistic)
    equal = ranking(scores(np.full((4, 3), 0.3)))
    assert (equal.statistic, equal.p, equal.leading) == (0.0, 1.0, 0) and set(equal.mean) == {2.0}


def test_blocks_that_lack_a_method_are_left_out_and_named():
    table = scores(np.random.RandomState(0).rand(4, 3))
    del table["b1"]["m2"]
    table["b3"]["alone"] = 1.0
    found = ranking(table)
    assert found.blocks == ["b0", "b2", "b3"] and found.left_out == {"b1": ["m2"]} and found.unranked == ["alone"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (scores(np.ones((4, 2))), "3 methods and 2 data sets.*on two or more of 4 there is only m0, m1"),
        (scores(np.ones((1, 5))), "3 methods and 2 data sets.*, and here is one of the latter"),
        ({"a": {"x": 1, "y": 1, "z": 1}, "b": {"x": 1, "y": 1}, "c": {"z": 1}}, r"all 3 are only on a \(b lacks z; c"),
        ({}, "and here are none of the latter"),
    ],
)
def test_too_little_is_refused_with_what_is_missing(table, said):
    with pytest.raises(UsageError, match=said):
        ranking(table)

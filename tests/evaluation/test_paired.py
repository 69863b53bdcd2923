"""Two classifiers on the same test images, against plain references."""

import numpy as np
import pytest
from scipy import stats

from lt_bench.evaluation import paired
from lt_bench.evaluation.paired import image_interval, mcnemar, span


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (1, 0), (3, 9), (50, 50), (7, 0), (400, 331)])
def test_mcnemar_is_the_binomial_test(ours, theirs):
    expected = stats.binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
    assert mcnemar(ours, theirs) == pytest.approx(expected, rel=1e-9) == mcnemar(theirs, ours)


def drawn(seed=0, classes=4, per_class=30):
    random = np.random.RandomState(seed)
    labels = np.repeat(np.arange(classes), per_class)
    return random.choice([-1, 0, 0, 1, 1], len(labels)) / len(labels), random.permutation(labels)


def slow(values, strata, times=4000):
    """Every image drawn anew inside its class, one draw after another; deviations widened as Rao and Wu say."""
    random, found = np.random.RandomState(1), []
    for _ in range(times):
        total = 0.0
        for label in np.unique(strata):
            own = values[strata == label]
            new = random.choice(own, len(own)).sum()
            total += own.sum() + (new - own.sum()) * (len(own) / (len(own) - 1)) ** 0.5
        found.append(total)
    return span(np.array(found))


@pytest.mark.parametrize("per_class", [3, 30])
def test_images_that_are_drawn_anew_give_the_interval_of_a_slow_loop(per_class):
    values, strata = drawn(per_class=per_class)
    low, high = image_interval(values, strata)
    assert low < values.sum() < high
    assert (low, high) == pytest.approx(slow(values, strata), abs=0.06 * (high - low))


def test_classes_alike_are_drawn_together_and_give_the_spread_of_each():
    values, strata = np.tile([1.0, 0.0, -1.0, 1.0], 50) / 200, np.repeat(np.arange(50), 4)
    low, high = image_interval(values, strata)
    each = np.var([1, 0, -1, 1], ddof=1) * 4 * 50 / 200**2  # of the sum, with the sample variance of a class
    assert (high - low) / 2 == pytest.approx(1.96 * each**0.5, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_other_sign_gives_the_other_interval(seed):
    values, strata = drawn(seed)
    low, high = image_interval(values, strata)
    assert image_interval(-values, strata) == (-high, -low)
    assert image_interval(values, strata) == (low, high)


def test_no_difference_is_none_and_a_single_image_adds_no_spread():
    assert image_interval(np.zeros(9), np.arange(9)) == (0.0, 0.0)
    assert image_interval(np.array([0.5, 0.0, 0.0]), np.arange(3)) == (0.5, 0.5)


def test_a_test_set_of_many_classes_is_no_loop_over_images(monkeypatch):
    random = np.random.RandomState(0)
    values, strata = random.choice([-1, 0, 1], 3 * 8142) / (3 * 8142), np.repeat(np.arange(8142), 3)
    assert len(paired._patterns(values, strata)) <= 10

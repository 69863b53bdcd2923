"""Scenes that are set aside for validation: rare classes have some there and keep some."""

import numpy as np
import pytest

from lt_bench.data.splits.scenes import split_scenes
from lt_bench.errors import UsageError


def scenes(count=200, seed=0):
    """Which of 12 classes scenes have: the first in all, the others ever rarer, the last in one alone."""
    random = np.random.RandomState(seed)
    present = random.rand(count, 12) < np.array([1, *0.6 ** np.arange(1, 11), 0])
    present[3, 11] = True
    return present


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_every_class_has_its_part_and_keeps_some(fraction):
    present = scenes()
    split = split_scenes(present, fraction, 1)
    both = np.concatenate([split.train, split.validation])
    assert np.array_equal(np.sort(both), np.arange(200)) and split.class_counts == present[split.train].sum(0).tolist()
    held, counts = present[split.validation].sum(0), present.sum(0)
    for label in range(12):
        least = max(1, int(counts[label] * fraction)) if counts[label] >= 5 else 0
        assert held[label] >= least and split.class_counts[label] >= 1
    assert 3 not in split.validation and len(split.validation) < 1.5 * fraction * 200 + 12


def test_the_part_follows_from_the_seed_alone_and_0_sets_nothing_aside():
    present = scenes()
    one, same, other = (split_scenes(present, 0.2, seed).validation.tolist() for seed in (1, 1, 2))
    assert one == same != other
    nothing = split_scenes(present, 0.0, 1)
    assert nothing.train.tolist() == [*range(200)] and nothing.class_counts == present.sum(0).tolist()
    assert not len(nothing.validation)


def test_fractions_that_leave_nothing_are_refused():
    with pytest.raises(UsageError, match="below 1"):
        split_scenes(scenes(), 1.0, 0)
    with pytest.raises(UsageError, match="sets no scene aside"):
        split_scenes(scenes()[:4], 0.2, 0)
    with pytest.raises(UsageError, match="each scene is the last of a class"):
        split_scenes(np.eye(5, dtype=bool), 0.2, 0)

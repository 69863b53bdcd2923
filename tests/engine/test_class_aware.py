"""Class-aware order: the published sampler's, and that of a slow reference."""

import random
from pathlib import Path

import numpy as np
import pytest

from lt_bench.engine.class_aware import ClassAwareOrder
from lt_bench.errors import DataError

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(name, case):
    return {key[2:]: value for key, value in np.load(GOLDEN / f"{name}.npz").items() if key.startswith(case)}


def slow_order(labels, seed, per_visit, length, epochs):
    """The same stream one item at a time: endless iterators that shuffle themselves when they start over."""
    generator = random.Random(seed)

    def cycle(items):
        while True:
            generator.shuffle(items)
            yield from items

    classes = cycle(list(range(max(labels) + 1)))
    images = [cycle([i for i, y in enumerate(labels) if y == label]) for label in range(max(labels) + 1)]
    passes = []
    for _ in range(epochs):
        order = []
        while len(order) < length:
            label = next(classes)
            order += [next(images[label]) for _ in range(per_visit)]
        passes.append(order[:length])
    return passes


@pytest.mark.parametrize("case", "ab")
def test_order_matches_the_published_sampler(case):
    data = golden("cb_sampler", case)
    order = ClassAwareOrder(data["labels"], int(data["py_random_seed"]), int(data["num_samples_cls"]))
    assert len(order) == data["length"]
    for epoch in (0, 1):
        np.testing.assert_array_equal(order.epoch(epoch), data[f"epoch{epoch + 1}"])
    histogram = np.bincount(data["labels"][order.epoch(0)])
    np.testing.assert_array_equal(histogram, data["class_hist_epoch1"])


@pytest.mark.parametrize("length", [None, 1, 57])
def test_order_matches_a_slow_reference(length):
    labels = np.random.RandomState(2).permutation(np.repeat(np.arange(7), [30, 14, 9, 5, 3, 2, 1]))
    order = ClassAwareOrder(labels, seed=11, images_per_class_visit=4, length=length)
    expected = slow_order(labels.tolist(), 11, 4, 210 if length is None else length, 5)
    np.testing.assert_array_equal([order.epoch(epoch) for epoch in range(5)], expected)


def test_an_epoch_is_a_function_of_its_number():
    labels = np.repeat(np.arange(4), [9, 5, 2, 1])
    walked = ClassAwareOrder(labels, seed=5)
    passes = [walked.epoch(epoch) for epoch in range(8)]
    np.testing.assert_array_equal(ClassAwareOrder(labels, seed=5).epoch(7), passes[7])
    np.testing.assert_array_equal(walked.epoch(7), passes[7])
    np.testing.assert_array_equal(walked.epoch(2), passes[2])
    np.testing.assert_array_equal(walked.epoch(6), passes[6])
    assert not np.array_equal(ClassAwareOrder(labels, seed=6).epoch(0), passes[0])


def test_classes_are_drawn_equally_often():
    labels = np.repeat(np.arange(10), [500, 300, 200, 100, 50, 20, 10, 5, 3, 1])
    counts = np.bincount(labels[ClassAwareOrder(labels, seed=0).epoch(0)])
    assert counts.sum() == 5000
    assert counts.max() - counts.min() <= 4


def test_impossible_orders_are_refused():
    with pytest.raises(DataError, match="class 1 has no image"):
        ClassAwareOrder(np.array([0, 0, 2]), seed=0)
    with pytest.raises(ValueError, match="images_per_class_visit"):
        ClassAwareOrder(np.array([0, 1]), seed=0, images_per_class_visit=0)

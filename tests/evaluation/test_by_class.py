"""Classes one by one: curves along the tail, confusions, and means over classes."""

import math

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.evaluation.by_class import class_curve, most_confused
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import Predictions


def test_the_curve_goes_from_the_head_to_the_tail() -> None:
    made = predictions(np.eye(4)[[0, 1, 1, 3, 3]], [0, 1, 1, 3, 0], [5, 9, 2, 5])
    curve = class_curve(made)
    assert curve.classes.tolist() == [1, 0, 3, 2] and curve.train_counts.tolist() == [9, 5, 5, 2]
    np.testing.assert_array_equal(curve.accuracies, [1.0, 0.5, 1.0, np.nan])


def test_what_is_taken_for_what_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    made = predictions(rng.normal(size=(300, 6)), rng.integers(0, 6, 300), [9, 8, 7, 6, 5, 4])
    pairs = {}
    for label, taken in zip(made.labels, made.predicted, strict=True):
        if label != taken:
            pairs[label, taken] = pairs.get((label, taken), 0) + 1
    shares = {pair: count / made.totals[pair[0]] for pair, count in pairs.items()}
    found = most_confused(made, 5)
    assert [one.share for one in found] == sorted(shares.values(), reverse=True)[:5]
    assert all(pairs[one.label, one.predicted] == one.images for one in found)
    assert len(most_confused(made, 1000)) == len(pairs)
    counted = Predictions(confusion=made.cells, train_counts=made.train_counts, group_rule="thirds")
    assert most_confused(counted, 5) == found
    np.testing.assert_array_equal(made.cells.sum(axis=1), made.totals)
    np.testing.assert_array_equal(made.cells.diagonal(), made.hits)


def test_no_mistake_is_no_confusion_and_the_predictions_stay_as_they_are() -> None:
    made = predictions(np.eye(3), range(3), [3, 2, 1])
    assert most_confused(made, 5) == [] and made.cells.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_geometric_mean_is_the_root_of_the_product_and_lies_between_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(400) % 5
    made = predictions(rng.normal(size=(400, 5)) + np.eye(5)[labels], labels, [9, 8, 7, 6, 5])
    found = evaluate(made, {"geometric_mean", "harmonic_mean", "macro", "worst_class"})
    assert found["geometric_mean"] == pytest.approx(math.prod(made.tested) ** (1 / 5))
    assert found["worst_class"] <= found["harmonic_mean"] <= found["geometric_mean"] <= found["macro"]


def test_a_class_that_is_never_right_makes_it_nothing_and_one_without_images_does_not_count() -> None:
    assert evaluate(predictions(np.eye(3)[[0, 0]], [0, 1], [9, 5, 1]), {"geometric_mean"}) == {"geometric_mean": 0.0}
    assert evaluate(predictions(np.eye(3)[[0, 1]], [0, 1], [9, 5, 1]), {"geometric_mean"}) == {"geometric_mean": 1.0}

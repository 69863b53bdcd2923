"""Test-agnostic evaluation: the authors' test sets and figures, and expectations against draws."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.shifted import (
    FACTORS,
    drawn_images,
    expected_top1,
    only,
    shifted_counts,
    shifted_top1,
    standard_error,
    with_known_prior,
)

GOLDEN = Path(__file__).parents[1] / "golden"
SETS = np.load(GOLDEN / "experts_test_distributions.npz")
GROUPS = ("many", "medium", "few", "top1")
CLASSES = {"imagenet_lt": (1000, 50), "places_lt": (365, 100)}


def descending(classes):
    return np.arange(classes, 0, -1)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_sizes_of_cifar_s_test_sets(direction, factor):
    for classes, most in ((100, 100), (10, 1000)):
        golden = SETS[f"cifar{classes}_{direction}{factor}_counts"]
        np.testing.assert_array_equal(shifted_counts(descending(classes), most, direction, 1 / factor), golden)


@pytest.mark.parametrize(("name", "factor"), [*itertools.product(CLASSES, FACTORS)])
def test_the_sizes_of_the_authors_lists(name, factor):
    classes, most = CLASSES[name]
    for direction in ("forward", "backward"):
        counts = shifted_counts(descending(classes), most, direction, 1 / factor)
        assert counts.sum() == SETS[f"{name}_{factor}_total"]
        np.testing.assert_array_equal(np.bincount(counts, minlength=most + 1), SETS[f"{name}_{factor}_histogram"])


@pytest.mark.parametrize(
    ("direction", "share", "key"),
    [
        ("forward", 0.3333, "3_forward"),
        ("backward", 0.333, "3_backward"),
        ("forward", 0.5, "2"),
        ("backward", 0.5, "2"),
    ],
)
def test_the_sizes_of_inaturalist_s_lists(direction, share, key):
    counts = shifted_counts(descending(8142), 3, direction, share)
    assert counts.sum() == SETS[f"inat18_{key}_total"]
    np.testing.assert_array_equal(np.bincount(counts, minlength=4), SETS[f"inat18_{key}_histogram"])


@pytest.mark.parametrize("classes", [100, 10])
def test_the_images_that_the_authors_draw_from_cifar(classes):
    positions = SETS[f"cifar{classes}_positions"]
    labels = np.repeat(np.arange(classes), positions.shape[1])
    drawn = drawn_images(labels, np.full(classes, positions.shape[1]))
    np.testing.assert_array_equal(drawn, (positions + np.arange(classes)[:, None] * positions.shape[1]).ravel())
    fewer = drawn_images(labels, shifted_counts(descending(classes), 50, "backward", 0.1))
    assert set(fewer) < set(drawn_images(labels, np.full(classes, 50)))


def test_the_images_that_the_authors_draw_from_a_file_in_any_order():
    labels = SETS["cifar100_shuffled_labels"].astype(np.int64)
    drawn = drawn_images(labels, SETS["cifar100_backward10_counts"])
    np.testing.assert_array_equal(drawn, SETS["cifar100_shuffled_backward10_indices"])
    with pytest.raises(ValueError, match="class 0 has 100 test images, not 101"):
        drawn_images(labels, np.full(100, 101))


def agnostic():
    golden = np.load(GOLDEN / "experts_agnostic_evaluation.npz")
    made = predictions(golden["logits"].mean(axis=0), golden["labels"], golden["train_counts"], "count_100_20")
    return golden, made


@pytest.mark.parametrize("number", range(11))
def test_the_figures_of_the_authors_evaluation(number):
    """In percent, rounded to two decimals; a group with a class that has no image is NaN there and a mean here."""
    golden, made = agnostic()
    counts = golden["test_counts"][number]
    for key, changed in (("plain", made), ("known_prior", with_known_prior(made, counts))):
        found = evaluate(only(changed, drawn_images(changed.labels, counts)), GROUPS)
        for name, value in zip(GROUPS, golden[key][number], strict=True):
            assert np.isnan(value) or found[name] * 100 == pytest.approx(value, abs=0.00501), (key, name)


def test_expected_accuracies_and_their_standard_errors():
    golden, made = agnostic()
    for number, name in enumerate(golden["distributions"]):
        counts = golden["test_counts"][number]
        if name != "uniform":
            direction = name.rstrip("0123456789")
            share = 1 / int(name.removeprefix(direction))
            np.testing.assert_array_equal(shifted_counts(made.train_counts, 40, direction, share), counts)
        found = expected_top1(made.accuracies, counts), standard_error(made.accuracies, made.totals, counts)
        reference = golden["expected_top1"][number] / 100, golden["standard_error"][number] / 100
        np.testing.assert_allclose(found, reference, rtol=1e-7)


def test_expectation_and_error_are_those_of_draws():
    golden, made = agnostic()
    counts, rng = golden["test_counts"][0], np.random.default_rng(0)
    right = [made.correct[made.labels == label] for label in range(10)]
    drawn = [
        sum(rng.permutation(part)[:count].sum() for part, count in zip(right, counts, strict=True)) / counts.sum()
        for _ in range(2000)
    ]
    error = standard_error(made.accuracies, made.totals, counts)
    assert np.mean(drawn) == pytest.approx(expected_top1(made.accuracies, counts), abs=4 * error / 2000**0.5)
    assert np.std(drawn) == pytest.approx(error, rel=0.1)


def test_metrics_of_shifted_test_sets():
    _, made = agnostic()
    found = evaluate(made, {"forward25", "backward2", "forward50", "top1"})
    counts = shifted_counts(made.train_counts, 40, "forward", 1 / 25)
    assert found["forward25"] == expected_top1(made.accuracies, counts) and found["forward50"] is None  # 40 images
    assert shifted_top1(made, "forward", 1) == pytest.approx(found["top1"])  # a balanced test set
    mirrored = predictions(made.logits[:, ::-1], 9 - made.labels, made.train_counts[::-1])
    assert shifted_top1(mirrored, "forward", 10) == pytest.approx(shifted_top1(made, "forward", 10))
    turned = predictions(made.logits, made.labels, made.train_counts[::-1])
    assert shifted_top1(turned, "backward", 10) == pytest.approx(shifted_top1(made, "forward", 10))


def test_equal_training_counts_are_ranked_by_class_id_both_ways():
    counts = np.array([5, 9, 5, 5])
    assert shifted_counts(counts, 8, "forward", 1 / 8).tolist() == [4, 8, 2, 1]
    assert shifted_counts(counts, 8, "backward", 1 / 8).tolist() == [2, 1, 4, 8]
    assert shifted_counts(np.array([3]), 8, "forward", 1 / 8).tolist() == [8]


def test_a_known_prior_takes_classes_without_images_out():
    made = predictions(np.array([[5.0, 1.0, 0.0], [0.0, 0.1, 0.0]]), [0, 1], [9, 5, 1])
    changed = with_known_prior(made, np.array([0, 3, 1]))
    assert changed.predicted.tolist() == [1, 1] and np.isfinite(changed.logits).all()
    np.testing.assert_allclose(changed.logits[:, 1:] - made.logits[:, 1:], np.log([[0.75, 0.25]] * 2), rtol=1e-6)


@pytest.mark.parametrize(("direction", "share"), [("sideways", 0.5), ("forward", 0.0), ("forward", 1.5)])
def test_other_distributions_are_refused(direction, share):
    with pytest.raises(ValueError, match="a direction is one of forward, backward"):
        shifted_counts(descending(3), 8, direction, share)


def test_a_class_without_test_images_has_no_expectation():
    for accuracies, counts in ((np.array([0.5, np.nan]), np.array([1, 1])), (np.array([0.5, 0.5]), np.array([0, 0]))):
        with pytest.raises(ValueError, match="no test images of a class"):
            expected_top1(accuracies, counts)
    assert expected_top1(np.array([0.5, np.nan]), np.array([2, 0])) == 0.5

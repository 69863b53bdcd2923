"""Selective accuracy and adaptive bins against slow references; the order of equal confidences decides nothing."""

import itertools
import math

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.evaluation.calibration import (
    adaptive_calibration_error,
    confidences,
    expected_calibration_error,
    reliability,
)
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.selective import area_under_risk_coverage, risks, selective_accuracy

CASES = [(seed, images) for seed, images in enumerate((1, 2, 7, 100))]


def drawn(seed: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.permutation(np.linspace(0.1, 1, images)), rng.random(images) < 0.6


@pytest.mark.parametrize("case", CASES)
def test_risks_against_a_loop(case: tuple[int, int]) -> None:
    confidence, correct = drawn(*case)
    ranked = sorted(range(len(confidence)), key=lambda image: -confidence[image])
    expected = [np.mean([not correct[image] for image in ranked[: k + 1]]) for k in range(len(ranked))]
    np.testing.assert_allclose(risks(confidence, correct), expected)
    assert area_under_risk_coverage(confidence, correct) == pytest.approx(np.mean(expected))
    for coverage in (0.2, 0.5, 0.8, 1.0):
        kept = math.ceil(round(coverage * len(ranked), 9))
        found = selective_accuracy(confidence, correct, coverage)
        assert found == pytest.approx(np.mean([correct[image] for image in ranked[:kept]]))


def test_equal_confidences_are_the_mean_over_all_their_orders() -> None:
    confidence, correct = np.array([0.9, 0.5, 0.5, 0.5, 0.2]), np.array([True, True, False, False, True])
    orders = [[0, *middle, 4] for middle in itertools.permutations((1, 2, 3))]
    curves = [np.cumsum(~correct[order]) / np.arange(1, 6) for order in orders]
    np.testing.assert_allclose(risks(confidence, correct), np.mean(curves, axis=0))
    for order in orders:
        np.testing.assert_allclose(risks(confidence[order], correct[order]), np.mean(curves, axis=0))
        found = adaptive_calibration_error(confidence[order], correct[order], 3)
        assert found == pytest.approx(adaptive_calibration_error(confidence, correct, 3))


def test_the_best_and_the_worst_order_of_confidence() -> None:
    correct = np.arange(100) < 70
    best, worst = np.linspace(1, 0.1, 100), np.linspace(0.1, 1, 100)
    least = sum(max(0, k - 70) / k for k in range(1, 101)) / 100
    assert area_under_risk_coverage(best, correct) == pytest.approx(least)
    assert area_under_risk_coverage(best, correct) < 0.3 < area_under_risk_coverage(worst, correct)
    assert area_under_risk_coverage(np.full(100, 0.5), correct) == pytest.approx(0.3)
    assert selective_accuracy(best, correct, 0.7) == 1.0 and selective_accuracy(best, correct, 1.0) == 0.7


@pytest.mark.parametrize("coverage", [0.0, -0.1, 1.01, float("nan")])
def test_other_coverages_are_refused(coverage: float) -> None:
    with pytest.raises(ValueError, match="a coverage is in"):
        selective_accuracy(np.array([0.5]), np.array([True]), coverage)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bins", [1, 4, 15])
def test_adaptive_bins_against_a_loop(case: tuple[int, int], bins: int) -> None:
    confidence, correct = drawn(*case)
    ranked = sorted(range(len(confidence)), key=lambda image: -confidence[image])
    size, more = divmod(len(ranked), bins)
    total, start = 0.0, 0
    for number in range(bins):
        part = ranked[start : start + size + (number < more)]
        start += len(part)
        if part:
            total += len(part) * abs(np.mean(confidence[part]) - np.mean(correct[part]))
    assert adaptive_calibration_error(confidence, correct, bins) == pytest.approx(total / len(ranked))


def test_one_bin_is_the_gap_of_the_means_for_both_errors() -> None:
    confidence, correct = drawn(3, 100)
    gap = abs(confidence.mean() - correct.mean())
    assert adaptive_calibration_error(confidence, correct, 1) == pytest.approx(gap)
    assert expected_calibration_error(confidence, correct, 1) == pytest.approx(gap)


@pytest.mark.parametrize("case", CASES)
def test_the_bars_of_the_diagram_against_a_loop_and_give_the_error(case: tuple[int, int]) -> None:
    confidence, correct = drawn(*case)
    bars = reliability(confidence, correct)
    for number, (low, high) in enumerate(itertools.pairwise(bars.edges)):
        inside = (confidence > low) & (confidence <= high)
        assert bars.images[number] == inside.sum()
        for found, values in ((bars.confidence, confidence), (bars.accuracy, correct)):
            assert (
                np.isnan(found[number]) if not inside.any() else found[number] == pytest.approx(values[inside].mean())
            )
    error = np.nansum(bars.images * np.abs(bars.confidence - bars.accuracy)) / len(confidence)
    assert expected_calibration_error(confidence, correct) == pytest.approx(error)


def test_metrics_are_those_of_the_largest_probabilities() -> None:
    rng = np.random.default_rng(5)
    made = predictions(rng.normal(size=(200, 6)), rng.integers(0, 6, 200), [9, 8, 7, 6, 5, 4])
    confidence, correct = confidences(made.logits), made.correct
    assert evaluate(made, {"adaptive_ece", "aurc", "top1_at_80"}) == {
        "adaptive_ece": adaptive_calibration_error(confidence, correct),
        "aurc": area_under_risk_coverage(confidence, correct),
        "top1_at_80": selective_accuracy(confidence, correct, 0.8),
    }

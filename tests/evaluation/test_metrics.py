from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.evaluation.calibration import (
    confidences,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from lt_bench.evaluation.metrics import evaluate, group_std, top_k_accuracy
from lt_bench.evaluation.predictions import confusion_matrix
from lt_bench.evaluation.shots import shot_groups

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "cb_shot_acc.npz")


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_shot_accuracy_of_the_decoupling_code(case: str) -> None:
    golden = {key[2:]: GOLDEN[key] for key in GOLDEN if key.startswith(f"{case}_")}
    logits = np.eye(len(golden["train_counts"]))[golden["preds"]]
    metrics = evaluate(predictions(logits, golden["labels"], golden["train_counts"], "count_100_20"))
    np.testing.assert_allclose(metrics["top1"], golden["overall_micro"], rtol=1e-9)
    np.testing.assert_allclose(metrics["macro"], golden["overall_macro"], rtol=1e-9)
    np.testing.assert_allclose(metrics["per_class_accuracy"], golden["per_class"], rtol=1e-9)
    groups = [metrics["many"], metrics["medium"], metrics["few"]]  # the authors' code says 0 for an empty group
    expected = [golden["many"], golden["medium"], golden["few"]]
    np.testing.assert_allclose([group or 0.0 for group in groups], expected, rtol=1e-9)
    assert [group is None for group in groups] == [case == "b" and name != "many" for name in ("many", "medium", "few")]


GROUPS = np.load(Path(__file__).parents[1] / "golden" / "gh_groups.npz")


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_deviation_over_groups_of_the_harmonization_code(case: str) -> None:
    golden = {key[3:]: GROUPS[key] for key in GROUPS if key.startswith(f"{case}_")}
    accuracy = golden["class_accuracy"] / 100  # the authors' deviation is on the scale of 0 to 1
    rule = "count_100_20" if golden["uses_shot_thresholds"] else "thirds"
    groups = shot_groups(golden["class_counts"], rule)
    found = group_std(*(float(accuracy[groups[name]].mean()) for name in ("many", "medium", "few")))
    assert found == pytest.approx(float(golden["group_std"]), rel=1e-10)
    assert accuracy.mean() == pytest.approx(float(golden["mean"]) / 100, rel=1e-10)
    assert found != pytest.approx(float(golden["class_std"]), rel=1e-3)  # over classes: another quantity


def test_deviation_over_groups_by_hand_and_without_a_group() -> None:
    assert group_std(0.9, 0.6, 0.3) == pytest.approx((2 * 0.3**2 / 3) ** 0.5, rel=1e-12)
    assert group_std(0.5, 0.5, 0.5) == 0.0
    assert group_std(0.9, None, 0.3) is None
    metrics = evaluate(predictions(np.eye(6)[[0, 1, 2, 3, 0, 0]], np.arange(6), np.array([9, 8, 7, 6, 5, 4]), "thirds"))
    assert [metrics[name] for name in ("many", "medium", "few")] == [1.0, 1.0, 0.0]  # type: ignore[literal-required]
    assert metrics["group_std"] == pytest.approx((2 / 9) ** 0.5)


@pytest.mark.parametrize(("classes", "k"), [(7, 5), (7, 1), (100, 5), (6, 6)])
def test_top_k_against_a_sort(classes: int, k: int) -> None:
    rng = np.random.default_rng(classes)
    logits = rng.integers(0, 4, (300, classes)).astype(np.float32)  # many are equal
    labels = rng.integers(0, classes, 300)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]  # of equal logits the first class
    expected = np.mean([label in row for label, row in zip(labels, order, strict=True)])
    assert top_k_accuracy(logits, labels, k) == pytest.approx(expected, rel=1e-12)
    if k == 1:
        assert expected == pytest.approx((logits.argmax(axis=1) == labels).mean())


def test_top_5_of_five_classes_says_nothing() -> None:
    five, six = (evaluate(predictions(np.eye(c), np.arange(c), np.arange(c) + 1, "thirds"))["top5"] for c in (5, 6))
    assert (five, six) == (None, 1.0)


def test_a_class_without_test_images_is_none_and_left_out_of_the_means() -> None:
    metrics = evaluate(predictions(np.eye(4)[[0, 2, 1]], [0, 2, 2], [200, 150, 50, 5], "count_100_20"))
    assert metrics["per_class_accuracy"] == [1.0, None, 0.5, None]
    assert (metrics["many"], metrics["medium"], metrics["few"]) == (1.0, 0.5, None)
    assert metrics["macro"] == 0.75
    assert metrics["test_counts"] == [1, 0, 2, 0] and metrics["train_counts"] == [200, 150, 50, 5]


def test_accuracies_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 200), rng.integers(0, 7, 200)
    confusion = np.zeros((7, 7), dtype=np.int64)
    for label, prediction in zip(labels, predicted, strict=True):
        confusion[label, prediction] += 1
    np.testing.assert_array_equal(confusion_matrix(labels, predicted, 7), confusion)
    expected = np.diag(confusion) / confusion.sum(axis=1)
    made = predictions(np.eye(7)[predicted], labels, np.arange(7))
    np.testing.assert_allclose(made.accuracies, expected, rtol=1e-15)


def test_calibration_error_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    confidence, correct = rng.uniform(0.1, 1.0, 500), rng.random(500) < 0.6
    expected = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, rel=1e-12)


CALIBRATION = np.load(Path(__file__).parents[1] / "golden" / "mixing_calibration.npz")


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_calibration_is_that_of_the_authors_code(case: str) -> None:
    """Confidences on the edges of bins are among them; of a bin without images the authors' code says 0."""
    golden = {key[3:]: CALIBRATION[key] for key in CALIBRATION if key.startswith(f"{case}_")}
    bins, values = int(golden["bins"]), (golden["confidence"], golden["correct"])
    assert expected_calibration_error(*values, bins) == pytest.approx(float(golden["ece"]), rel=1e-9)
    found = reliability(*values, bins)
    np.testing.assert_array_equal(found.images, golden["bin_counts"])
    np.testing.assert_allclose(np.nan_to_num(found.accuracy), golden["bin_accuracy"], rtol=1e-9)
    np.testing.assert_allclose(np.nan_to_num(found.confidence), golden["bin_confidence"], rtol=1e-9)
    assert np.nanmax(np.abs(found.accuracy - found.confidence)) == pytest.approx(float(golden["mce"]), rel=1e-9)


def test_calibration_by_hand() -> None:
    logits = np.log(np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]]))
    metrics = evaluate(predictions(logits, np.array([0, 1, 1]), np.array([30, 10]), "thirds"))
    assert metrics["ece"] == pytest.approx((abs(1.6 - 1) + abs(0.6 - 1)) / 3, rel=1e-6)
    assert expected_calibration_error(np.ones(4), np.ones(4, dtype=bool)) == 0.0


CASES = [(seed, classes, images) for seed, (classes, images) in enumerate([(2, 3), (5, 40), (12, 200), (30, 90)])]


def drawn(seed: int, classes: int, images: int, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels and counts of training images; some classes may have no test images."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = (scale * rng.normal(size=(images, classes)) + 4 * np.eye(classes)[labels]).astype(np.float32)
    return logits, labels, rng.integers(1, 300, classes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_metrics_over_classes_against_a_loop(case: tuple[int, int, int]) -> None:
    logits, labels, counts = drawn(*case)
    metrics = evaluate(predictions(logits, labels, counts))
    accuracies = []
    for class_id in range(case[1]):
        own = [row.tolist() for row, label in zip(logits, labels, strict=True) if label == class_id]
        if own:
            accuracies.append(sum(row.index(max(row)) == class_id for row in own) / len(own))
    assert metrics["worst_class"] == pytest.approx(min(accuracies), rel=1e-14)
    inverse = sum(1 / accuracy for accuracy in accuracies) if all(accuracies) else float("inf")
    assert metrics["harmonic_mean"] == pytest.approx(len(accuracies) / inverse, rel=1e-12)
    assert metrics["balanced_error"] == pytest.approx(1 - sum(accuracies) / len(accuracies), abs=1e-14)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_metrics_over_classes_are_in_the_order_of_means(case: tuple[int, int, int]) -> None:
    metrics = evaluate(predictions(*drawn(*case)))
    known = [accuracy for accuracy in metrics["per_class_accuracy"] if accuracy is not None]
    assert 0 <= metrics["worst_class"] <= metrics["harmonic_mean"] + 1e-15
    assert metrics["harmonic_mean"] <= metrics["macro"] + 1e-15 <= max(known) + 2e-15
    assert metrics["balanced_error"] + metrics["macro"] == pytest.approx(1, abs=1e-15)


def test_a_class_that_is_never_right_is_the_worst_and_the_harmonic_mean_nothing() -> None:
    metrics = evaluate(predictions(np.eye(3)[[0, 0, 1]], [0, 1, 1], [9, 5, 1]))
    assert (metrics["worst_class"], metrics["harmonic_mean"]) == (0.5, pytest.approx(2 / 3))  # class 2 is not tested
    metrics = evaluate(predictions(np.eye(3)[[0, 0, 0]], [0, 1, 0], [9, 5, 1]))
    assert (metrics["worst_class"], metrics["harmonic_mean"], metrics["balanced_error"]) == (0.0, 0.0, 0.5)
    equal = evaluate(predictions(np.eye(3), [0, 1, 2], [9, 5, 1]))
    assert (equal["worst_class"], equal["harmonic_mean"], equal["balanced_error"]) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_likelihood_against_exact_arithmetic(case: tuple[int, int, int]) -> None:
    logits, labels, counts = drawn(*case)
    with localcontext() as context:
        context.prec = 60
        total = Decimal(0)
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
            exact = [Decimal(value) for value in row]
            total += sum(value.exp() for value in exact).ln() - exact[label]
        expected = float(total / len(labels))
    found = evaluate(predictions(logits, labels, counts))["nll"]
    assert found == pytest.approx(expected, rel=1e-13) and found >= 0
    assert negative_log_likelihood(logits, labels, rows=7) == pytest.approx(found, rel=1e-14)


def test_likelihood_of_extreme_and_shifted_logits() -> None:
    logits = np.array([[1e30, 0.0], [0.0, 1e30], [-3e38, 3e38]], dtype=np.float32)
    found = negative_log_likelihood(logits, np.array([0, 0, 1]))
    assert found == pytest.approx(float(np.float32(1e30)) / 3, rel=1e-15)
    assert negative_log_likelihood(np.zeros((4, 8)), np.arange(4)) == pytest.approx(np.log(8), rel=1e-15)
    logits, labels, _ = drawn(*CASES[2])
    whole = np.round(logits)  # exact in float32 when shifted
    shifted = whole + np.float32(1024)
    assert negative_log_likelihood(shifted, labels) == pytest.approx(negative_log_likelihood(whole, labels), rel=1e-14)


def test_confidence_survives_large_logits_and_leaves_them_unchanged() -> None:
    logits = np.array([[1e4, 0.0], [-1e4, -1e4]], dtype=np.float32)
    kept = logits.copy()
    np.testing.assert_allclose(confidences(logits), [1.0, 0.5])
    np.testing.assert_array_equal(logits, kept)


@pytest.mark.parametrize(
    ("logits", "labels", "counts", "message"),
    [
        (np.zeros((2, 3)), [0, 1], [1, 2], r"\(2, 3\), \(2,\), \(2,\)"),
        (np.zeros((2, 3)), [0, 1, 2], [1, 2, 3], r"\(2, 3\), \(3,\), \(3,\)"),
        (np.zeros((0, 3)), [], [1, 2, 3], "M, C >= 1"),
        (np.zeros((2, 3)), [0, 3], [1, 2, 3], r"0\.\.2, found 0\.\.3"),
        (np.zeros((2, 3)), [0.0, 1.0], [1, 2, 3], "integers"),
        (np.array([[0.0, np.inf], [np.nan, 0.0], [0.0, 0.0]]), [0, 1, 1], [1, 2], "2 of 3 rows"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    logits: np.ndarray, labels: list[int], counts: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predictions(logits, labels, counts)

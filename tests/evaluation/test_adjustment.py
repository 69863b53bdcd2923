"""Logit adjustment after training: formula, choice of the strength, and what it may not touch."""

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.evaluation.adjustment import TAUS, adjusted, adjusted_as_chosen, choose_tau, log_prior
from lt_bench.evaluation.metrics import evaluate, few, top1
from lt_bench.evaluation.predictions import Predictions

COUNTS = np.array([500, 100, 20, 4])


def drawn(seed: int, images: int = 400, bias: float = 1.0) -> Predictions:
    """Balanced labels; logits that know them a little, and lean by ``bias`` times the prior."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % len(COUNTS)
    logits = rng.normal(size=(images, len(COUNTS))) + 1.5 * np.eye(len(COUNTS))[labels]
    return predictions(logits + bias * log_prior(COUNTS), labels, COUNTS, "thirds")


def beside(test: Predictions, validation: Predictions | None) -> Predictions:
    return Predictions(
        logits_by_name=test.logits_by_name | {"expert": test.logits + 1},
        labels=test.labels,
        train_counts=COUNTS,
        group_rule="thirds",
        validation=validation,
    )


def test_adjustment_is_the_formula_row_by_row() -> None:
    made = beside(drawn(0), drawn(1))
    found = adjusted(made, 0.7)
    for row, logits in zip(found.logits[:20], made.logits[:20], strict=True):
        expected = [z - 0.7 * np.log(count / COUNTS.sum()) for z, count in zip(logits, COUNTS, strict=True)]
        np.testing.assert_allclose(row, expected, rtol=1e-6)
    assert made.validation is not None and found.validation is not None
    np.testing.assert_array_equal(found.validation.logits, adjusted(made.validation, 0.7).logits)
    np.testing.assert_allclose(found.logits_by_name["expert"], found.logits + 1, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(adjusted(made, 0.0).logits, made.logits)
    np.testing.assert_allclose(adjusted(adjusted(made, 0.3), 0.4).logits, found.logits, atol=1e-5)


def test_it_undoes_a_lean_towards_the_prior() -> None:
    unbiased, leaning = drawn(0, bias=0.0), drawn(0, bias=1.0)
    np.testing.assert_allclose(adjusted(leaning, 1.0).logits, unbiased.logits, atol=1e-5)
    assert top1(adjusted(leaning, 1.0)) > top1(leaning) + 0.1


@pytest.mark.parametrize("bias", [0.0, 0.5, 1.0])
def test_the_strength_is_the_best_of_all_on_validation_images(bias: float) -> None:
    validation = drawn(1, bias=bias)
    tau = choose_tau(validation)
    means = {one: float(np.mean(adjusted(validation, one).tested)) for one in TAUS}
    assert means[tau] == max(means.values()) and tau == min(one for one in TAUS if means[one] == means[tau])
    assert abs(tau - bias) < 0.45


def test_equal_ones_give_the_nearest_to_nothing() -> None:
    certain = predictions(100 * np.eye(4), range(4), COUNTS)
    assert choose_tau(certain) == 0.0 and choose_tau(certain, (-2.0, 1.0, 2.0)) == 1.0


def test_test_labels_decide_nothing_of_the_strength() -> None:
    made = beside(drawn(0), drawn(1))
    other = beside(predictions(made.logits, (made.labels + 1) % 4, COUNTS), drawn(1))
    first, second = adjusted_as_chosen(made), adjusted_as_chosen(other)
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.logits, second.logits)


def test_metrics_of_it_are_those_of_adjusted_predictions_and_none_without_validation_images() -> None:
    made = beside(drawn(0), drawn(1))
    assert made.validation is not None
    changed = adjusted(made, choose_tau(made.validation))
    names = {"adjusted_top1", "adjusted_few"}
    assert evaluate(made, names) == {"adjusted_top1": top1(changed), "adjusted_few": few(changed)}
    assert evaluate(beside(drawn(0), None), names) == {"adjusted_top1": None, "adjusted_few": None}


def test_a_class_without_training_images_counts_as_one() -> None:
    np.testing.assert_allclose(log_prior(np.array([8, 0])), np.log([8 / 9, 1 / 9]))

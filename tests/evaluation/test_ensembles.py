"""Ensembles of runs against means image by image, and which runs do not belong together."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.evaluation.ensembles import ensemble
from lt_bench.evaluation.metrics import top1
from lt_bench.evaluation.predictions import Predictions

COUNTS = [50, 20, 5]
LABELS = np.arange(90) % 3


def member(seed: int, scale: float = 1.0) -> Predictions:
    rng = np.random.default_rng(seed)
    return predictions(scale * (rng.normal(size=(90, 3)) + np.eye(3)[LABELS]), LABELS, COUNTS)


def softmax(row: np.ndarray) -> np.ndarray:
    exponentials = np.exp(row.astype(np.float64) - row.max())
    found: np.ndarray = exponentials / exponentials.sum()
    return found


@pytest.mark.parametrize("count", [1, 2, 5])
def test_means_against_a_loop(count: int) -> None:
    members = [member(seed, 1.0 + seed) for seed in range(count)]
    of_logits, of_probabilities = ensemble(members, "logits"), ensemble(members, "probabilities")
    for image in range(90):
        rows = [one.logits[image] for one in members]
        np.testing.assert_allclose(of_logits.logits[image], np.mean(rows, axis=0), rtol=1e-5, atol=1e-6)
        mean = np.mean([softmax(row) for row in rows], axis=0)
        np.testing.assert_allclose(softmax(of_probabilities.logits[image]), mean, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(np.exp(of_probabilities.logits[image]).sum(), 1, rtol=1e-5)


def test_the_order_of_members_decides_nothing_and_copies_change_nothing() -> None:
    members = [member(seed) for seed in range(3)]
    for mean_of in ("logits", "probabilities"):
        one, other = ensemble(members, mean_of), ensemble(members[::-1], mean_of)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-5, atol=1e-6)
        assert top1(ensemble([members[0]] * 3, mean_of)) == top1(members[0])
    assert top1(ensemble(members)) > max(map(top1, members))


def test_certain_members_keep_finite_logits() -> None:
    rows = [np.array([[9e4, -9e4, 0.0]]), np.array([[-9e4, 9e4, 0.0]])]
    made = [predictions(row, [0], COUNTS) for row in rows]
    found = ensemble(made).logits
    assert np.isfinite(found).all() and found[0, 0] == found[0, 1] == pytest.approx(np.log(0.5))


def test_validation_images_are_ensembled_where_all_have_them() -> None:
    def with_validation(seed: int) -> Predictions:
        test = member(seed)
        return Predictions(
            logits_by_name=test.logits_by_name,
            labels=test.labels,
            train_counts=test.train_counts,
            group_rule=test.group_rule,
            validation=member(seed + 100),
        )

    found = ensemble([with_validation(0), with_validation(1)], "logits").validation
    assert found is not None
    np.testing.assert_array_equal(found.logits, ensemble([member(100), member(101)], "logits").logits)
    assert ensemble([with_validation(0), member(1)]).validation is None


def test_runs_that_do_not_belong_together_are_refused() -> None:
    first = member(0)
    order = np.roll(np.arange(90), 1)
    moved = predictions(first.logits[order], first.labels[order], COUNTS)
    fewer = predictions(first.logits[:60], first.labels[:60], COUNTS)
    for other in (moved, fewer):
        with pytest.raises(ValueError, match="member 2 is of other test images than the first, or has them in another"):
            ensemble([first, other])
    with pytest.raises(ValueError, match="member 3 was trained on other numbers of images per class"):
        ensemble([first, first, predictions(first.logits, LABELS, [50, 20, 6])])
    counted = Predictions(confusion=np.eye(3, dtype=int), train_counts=np.array(COUNTS), group_rule="thirds")
    for members in ([], [counted]):
        with pytest.raises(ValueError, match="an ensemble needs members, each with logits"):
            ensemble(members)
    weights = {"uniform": np.array([0.5, 0.5])}
    with pytest.raises(ValueError, match="adapted to test images has no weights for other test sets; take those of"):
        ensemble([first, replace(first, expert_weights=weights)])
    with pytest.raises(ValueError, match="a mean of probabilities or logits, not of votes"):
        ensemble([first], "votes")

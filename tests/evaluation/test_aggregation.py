"""SADE's weights of experts: the authors' steps, gradients, and which images decide them."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.golden_vectors import FOLDER
from helpers.samples import predictions

from lt_bench.evaluation.aggregation import Learning, difference, learnt_weights, steps, weights_by_test_set
from lt_bench.evaluation.experts import expert_name, weighted
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.shifted import drawn_images, only, shifted_counts, shifted_top1

GOLDEN = np.load(FOLDER / "experts_sade_aggregation.npz")
GROUPS = ("many", "medium", "few", "top1")


def softmax(values):
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("case", range(2))
def test_the_steps_are_those_of_the_authors(case):
    found = {key.removeprefix(f"c{case}_"): GOLDEN[key] for key in GOLDEN.files if key.startswith(f"c{case}_")}
    views, size = found["view_logits"], int(found["batch_size"])
    loss, gradient = difference(np.zeros(3), views[:, found["order"][0][:size]])
    np.testing.assert_allclose(loss, found["first_loss"], rtol=1e-9)
    np.testing.assert_allclose(gradient, found["first_grad"], rtol=1e-5, atol=2e-6)
    numbers = {name: float(found[name]) for name in ("lr", "momentum", "weight_decay")}
    learning = Learning(**numbers, batch_size=size, epochs=int(found["max_epochs"]))
    raw = np.array([*steps([views], found["order"], learning)])
    np.testing.assert_allclose(raw, found["raw_per_step"], rtol=1e-7)
    np.testing.assert_allclose(softmax(raw), found["weights_per_step"], rtol=1e-7)
    np.testing.assert_array_equal(softmax(raw[-1]).round(2), found["weights_rounded"])
    by_name = {"logits": views[0, :, 0]} | {expert_name(number): views[0, :, number] for number in range(3)}
    made = predictions(views[0, :, 0], np.zeros(len(views[0]), dtype=int), np.ones(views.shape[3], dtype=int))
    made = replace(made, logits_by_name=by_name)
    np.testing.assert_array_equal(weighted(made, softmax(raw[-1])).predicted, found["aggregated_argmax"])


def drawn(images=60, seed=0):
    return np.random.default_rng(seed).normal(size=(2, images, 3, 4)).astype(np.float32)


def test_gradients_are_differences_and_alike_views_give_none():
    raw, views = np.array([0.3, -0.2, 0.1]), drawn()
    found = difference(raw, views)[1]
    for place, by_hand in enumerate(found):
        step = 1e-6 * np.eye(3)[place]
        assert by_hand == pytest.approx((difference(raw + step, views)[0] - difference(raw - step, views)[0]) / 2e-6)
    assert found.sum() == pytest.approx(0)
    loss, none = difference(raw, views[[0, 0]])
    assert loss == pytest.approx(-1) and np.abs(none).max() < 1e-12


def test_epochs_take_the_pairs_of_views_in_turn():
    pairs, learning = [drawn(seed=0), drawn(seed=1)], Learning(0.1, 0.0, epochs=3, batch_size=60)
    orders = [np.arange(60)] * 3
    first, second, third = steps(pairs, orders, learning)
    assert np.array_equal(first, next(steps(pairs[:1], orders, learning)))
    assert not np.array_equal(second, [*steps(pairs[:1], orders, learning)][1])
    assert not np.array_equal(third, second)


def test_weights_of_a_test_set_are_those_of_its_images_alone():
    labels, counts = np.arange(60) % 4, np.array([90, 40, 12, 5])
    views, learning = drawn(), Learning(0.5, 5e-4, batch_size=16)
    found = weights_by_test_set([views], labels, counts, learning)
    assert set(found) == {"uniform", *(f"{way}{factor}" for way in ("forward", "backward") for factor in (10, 5, 2))}
    images = drawn_images(labels, shifted_counts(counts, 15, "backward", 1 / 5))
    others = np.setdiff1d(np.arange(60), images)
    views[:, others] += 1
    np.testing.assert_array_equal(found["backward5"], learnt_weights([views], images, learning))
    assert len({tuple(one) for one in found.values()}) == len(found)
    assert all(one.sum() == pytest.approx(1) for one in found.values())
    turned = weights_by_test_set([drawn()], labels[::-1].copy(), counts, learning)
    np.testing.assert_array_equal(turned["uniform"], found["uniform"])  # no label is read


def agnostic():
    golden = np.load(FOLDER / "experts_agnostic_evaluation.npz")
    made = predictions(golden["logits"].mean(axis=0), golden["labels"], golden["train_counts"], "count_100_20")
    sets = {expert_name(number): one for number, one in enumerate(golden["logits"])}
    return golden, replace(made, logits_by_name=made.logits_by_name | sets)


def test_the_authors_figures_under_weights():
    """In percent, rounded to two decimals; a group with a class that has no image is NaN there and a mean here."""
    golden, made = agnostic()
    changed = weighted(made, softmax(golden["aggregation_raw"]))
    for counts, figures in zip(golden["test_counts"], golden["aggregated"], strict=True):
        found = evaluate(only(changed, drawn_images(made.labels, counts)), GROUPS)
        for name, value in zip(GROUPS, figures, strict=True):
            assert np.isnan(value) or found[name] * 100 == pytest.approx(value, abs=0.00501), name


def test_a_shifted_test_set_has_weights_of_its_own():
    _, made = agnostic()
    weights = {"uniform": np.array([0.2, 0.3, 0.5]), "forward10": np.array([0.7, 0.2, 0.1])}
    alone = weighted(made, weights["forward10"])
    adapted = replace(made, expert_weights=weights)
    assert shifted_top1(adapted, "forward", 10) == shifted_top1(alone, "forward", 10)
    assert shifted_top1(adapted, "forward", 5) is None  # nobody learnt weights for it

"""KCL in the batch: the published arithmetic, draws without repetition, and a plain loop over the definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import DOUBLE, SINGLE, golden

from lt_bench.losses.kcl import distinct_ranks, draw_partners, k_positives_in_batch
from lt_bench.losses.supcon import supcon

CASES = range(3)
IN_CODE = range(7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_of_the_reference(case, dtype):
    values = golden("tsc_batch_loss", f"c{case}")
    features = values["features"].to(dtype).requires_grad_()
    loss = k_positives_in_batch(features, values["labels"], values["draws"], float(values["temperature"]))
    exact = dtype == torch.float64
    tolerance = {"rtol": 1e-8, "atol": 0.0} if exact else {"rtol": 2e-4, "atol": 1e-5}
    torch.testing.assert_close(loss.double().detach(), values["loss_kcl"], **tolerance)
    (gradient,) = torch.autograd.grad(loss, features)
    expected = values["grad_kcl"].to(dtype)
    torch.testing.assert_close(gradient, expected, **({"rtol": 1e-5, "atol": 2e-6} if exact else SINGLE))


@pytest.mark.parametrize("case", CASES)
def test_positives_of_the_reference(case):
    values = golden("tsc_batch_loss", f"c{case}")
    if int(values["k"]) == 0:
        assert len(values["draws"]) == 0
        return
    rows, counts = draw_partners(values["labels"], values["draws"])
    anchors = rows.shape[1]
    found = torch.zeros(anchors, anchors, dtype=torch.int64).T.scatter_add(0, rows, counts.long()).T
    partner = torch.eye(anchors, dtype=torch.int64).roll(anchors // 2, 0)
    assert torch.equal(found + partner, values["positives"].long())  # and none is drawn twice


def plain(case):
    """Whether a case of the authors' code has none of the switches that no recipe has."""
    switches = ("unbiased", "only_targets_as_anchors", "all_targets_positive")
    weighted = "class_weight" in case and bool((case["class_weight"] != 1).any())
    return not weighted and not any(bool(case[name]) for name in switches)


def as_images(case):
    """Features and labels with the targets as two more views of their class, as in the authors' code."""
    features, labels = case["features"].double(), case["labels"]
    if "targets" in case:
        repeat, classes = int(case["target_repeat"]), len(case["targets"])
        rows = case["targets"].double().repeat_interleave(repeat, 0)
        features = torch.cat([features, rows[:, None].expand(-1, 2, -1)])
        labels = torch.cat([labels, torch.arange(classes).repeat_interleave(repeat)])
    return features, labels


PLAIN = [number for number in IN_CODE if plain(golden("tsc_cifar_loss", f"c{number}"))]


@pytest.mark.parametrize("number", PLAIN)
def test_is_the_authors_code_for_cifar_where_targets_are_images(number):
    case = golden("tsc_cifar_loss", f"c{number}")
    features, labels = as_images(case)
    features.requires_grad_()
    temperature = float(case["temperature"])
    loss = k_positives_in_batch(features, labels, case["draws"], temperature)
    loss = loss * temperature / float(case["base_temperature"])
    torch.testing.assert_close(loss.detach(), case["loss"], rtol=1e-6, atol=0.0)
    (gradient,) = torch.autograd.grad(loss, features)
    torch.testing.assert_close(gradient[: len(case["features"])], case["grad_features"], **DOUBLE)


def test_the_authors_code_has_such_cases_with_and_without_targets():
    assert len(PLAIN) >= 3
    assert {"targets" in golden("tsc_cifar_loss", f"c{number}") for number in PLAIN} == {True, False}


def batch(seed=0, images=9, classes=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    features = F.normalize(torch.randn(images, 2, 6, generator=generator, dtype=torch.float64), dim=2).to(dtype)
    labels = torch.randint(classes, (images,), generator=generator)
    return features, labels, torch.rand(4, 2 * images, generator=generator)


def test_ranks_are_those_of_a_loop_over_what_is_left():
    generator = torch.Generator().manual_seed(0)
    number = torch.randint(2, 9, (60,), generator=generator)
    draws = torch.rand(5, 60, generator=generator)
    draws[0, 0], draws[0, 1] = 0.0, 1 - 2**-24
    taken = torch.stack([torch.randperm(int(n), generator=generator)[:2] for n in number], 1)
    ranks, counts = distinct_ranks(number, draws, taken)
    for anchor, n in enumerate(number.tolist()):
        left = [rank for rank in range(n) if rank not in taken[:, anchor].tolist()]
        for turn in range(5):
            assert bool(counts[turn, anchor]) == bool(left)
            if left:
                assert int(ranks[turn, anchor]) == left.pop(int(draws[turn, anchor] * len(left)))


def test_the_definition_is_met():
    features, labels, draws = batch()
    rows, both = features.transpose(0, 1).flatten(0, 1), labels.repeat(2)
    drawn, counts = draw_partners(labels, draws)
    total = 0.0
    for a in range(len(rows)):
        partner = (a + len(labels)) % len(rows)
        positives = {partner, *drawn[:, a][counts[:, a]].tolist()}
        candidates = [b for b in range(len(rows)) if both[b] == both[a] and b not in (a, partner)]
        assert positives - {partner} <= set(candidates)
        assert len(positives) == 1 + min(4, len(candidates))
        scores = {b: float(rows[a] @ rows[b]) / 0.1 for b in range(len(rows)) if b != a}
        log_sum = math.log(sum(map(math.exp, scores.values())))
        total += log_sum - sum(scores[b] for b in positives) / len(positives)
    assert float(k_positives_in_batch(features, labels, draws, 0.1)) == pytest.approx(total / len(rows), rel=1e-9)


def test_enough_draws_take_the_whole_class_as_none_do():
    features, labels, _ = batch()
    expected = supcon(features, labels, 0.1, 0.1)
    for draws in (torch.rand(20, 18), torch.rand(0, 18)):
        torch.testing.assert_close(k_positives_in_batch(features, labels, draws, 0.1), expected)


def test_one_image_of_every_class_has_its_other_view_alone():
    features, _, draws = batch()
    loss = k_positives_in_batch(features, torch.arange(9), draws, 0.1)
    torch.testing.assert_close(loss, supcon(features, None, 0.1, 0.1))


def test_names_of_classes_do_not_matter():
    features, labels, draws = batch()
    renamed = torch.tensor([7, 9, 8])[labels]
    torch.testing.assert_close(*(k_positives_in_batch(features, names, draws, 0.1) for names in (labels, renamed)))


def test_extreme_scores_stay_finite_in_half_precision():
    features, labels, draws = batch(dtype=torch.bfloat16)
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = k_positives_in_batch(features, labels, draws, 0.005)
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert torch.autograd.grad(loss, features)[0].isfinite().all()

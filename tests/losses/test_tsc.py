"""TSC's loss: the reference with both normalisers, KCL without targets, and what names of classes may not change."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import SINGLE, golden

from lt_bench.geometry.simplex import far_apart
from lt_bench.losses.kcl import attractions, k_positives_in_batch
from lt_bench.losses.tsc import Targets, targeted


@pytest.mark.parametrize("normaliser", ["paper", "code"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", range(3))
def test_loss_and_gradient_of_the_reference(case, dtype, normaliser):
    values = golden("tsc_batch_loss", f"c{case}")
    features = values["features"].to(dtype).requires_grad_()
    weight = float(values["target_weight"])
    targets = Targets(values["targets"].to(dtype), values["assignment"], weight, normaliser)
    loss = targeted(features, values["labels"], values["draws"], float(values["temperature"]), targets)
    exact = dtype == torch.float64
    tolerance = {"rtol": 1e-8, "atol": 0.0} if exact else {"rtol": 2e-4, "atol": 1e-5}
    torch.testing.assert_close(loss.double().detach(), values[f"loss_{normaliser}_normaliser"], **tolerance)
    (gradient,) = torch.autograd.grad(loss, features)
    expected = values[f"grad_{normaliser}_normaliser"].to(dtype)
    torch.testing.assert_close(gradient, expected, **({"rtol": 1e-5, "atol": 2e-6} if exact else SINGLE))


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(9, 2, 6, generator=generator, dtype=torch.float64), dim=2).to(dtype)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 3, 3])  # nothing of class 2, or of class 4
    torch.manual_seed(0)
    points = far_apart(5, 6)
    return features, labels, torch.rand(3, 18, generator=generator), points, torch.tensor([2, 0, 1, 4, 3])


def test_a_target_of_a_class_that_is_not_there_is_a_negative_of_all():
    features, labels, draws, points, of_class = example()
    whole, without_absent = (
        targeted(features, labels, draws, 0.1, Targets(points[kept], order, 0.2))
        for kept, order in ((slice(None), of_class), ([0, 2, 4], torch.tensor([1, 0, 0, 2])))
    )
    assert float(whole) > float(without_absent)


def test_without_weight_targets_are_in_the_denominator_alone():
    features, labels, draws, points, of_class = example()
    rows = features.transpose(0, 1).flatten(0, 1)
    sums, counts = attractions(rows, labels, draws)
    scores = torch.cat([rows @ rows.T, rows @ points.T], 1) / 0.1
    scores[torch.eye(18, 23, dtype=torch.bool)] = -torch.inf
    expected = (scores.logsumexp(1) - sums / (0.1 * counts)).mean()
    torch.testing.assert_close(targeted(features, labels, draws, 0.1, Targets(points, of_class, 0.0)), expected)
    # targets that nothing is near to leave KCL
    far = Targets(torch.full_like(points, -1e6), of_class, 0.0)
    ahead = features.abs()
    torch.testing.assert_close(
        targeted(ahead, labels, draws, 0.1, far), k_positives_in_batch(ahead, labels, draws, 0.1)
    )


def test_classes_and_their_targets_may_be_renamed_together():
    features, labels, draws, points, of_class = example()
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = torch.empty_like(of_class)
    moved[order] = of_class
    losses = (
        targeted(features, names, draws, 0.1, Targets(points, targets, 0.2))
        for names, targets in ((labels, of_class), (order[labels], moved))
    )
    torch.testing.assert_close(*losses)


def test_one_image_of_every_class_and_one_class_alone():
    features, _, draws, points, of_class = example()
    for labels in (torch.arange(5), torch.full((5,), 3)):
        found = targeted(features[:5], labels, draws[:, :10], 0.1, Targets(points, of_class, 0.2))
        assert found.isfinite()


def test_extreme_scores_stay_finite_in_half_precision():
    features, labels, draws, points, of_class = example(torch.bfloat16)
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = targeted(features, labels, draws, 0.005, Targets(points.float(), of_class, 0.2, "code"))
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert torch.autograd.grad(loss, features)[0].isfinite().all()

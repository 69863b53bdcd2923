"""Deferred weights, weighted cross-entropy and the focal loss, against the authors' functions and their definitions."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden
from helpers.mixing_losses import CASES, PRECISIONS, compare

from lt_bench.errors import DataError, SettingError
from lt_bench.losses.reweighted import DeferredWeights, effective_number_weights, focal

COUNTS = torch.tensor([50, 9, 2])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_focal_is_that_of_the_authors(case, dtype, gamma, weighted):
    weights = golden("mixing_losses")[f"{case}__weights"] if weighted else None
    compare(
        case, f"focal_{gamma}{'_weighted' * weighted}", dtype, lambda z, y: focal(z, y, gamma, weights, inside=True)
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_weighted_cross_entropy_is_that_of_the_authors(case, dtype):
    counts = golden("mixing_losses")[f"{case}__counts"]
    weights = effective_number_weights(counts, 0.9999)
    torch.testing.assert_close(weights, golden("mixing_losses")[f"{case}__weights"], rtol=1e-6, atol=0)
    compare(case, "ce_weighted", dtype, lambda z, y: F.cross_entropy(z, y, weights.to(z.dtype)))


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize("gamma", [1, 2])
def test_focal_of_the_ldam_code(case, gamma):
    stored = golden("ldam_focal", f"{case}_g{gamma}")
    logits = stored["logits"].double().requires_grad_()
    weights = stored["class_weight"] if stored["has_weight"] else None
    loss = focal(logits, stored["labels"], float(stored["gamma"]), weights, inside=True)
    torch.testing.assert_close(loss.detach(), stored["loss"].double(), rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, stored["grad"].double(), rtol=1e-5, atol=1e-6)


def test_a_weight_outside_leaves_the_probability_alone():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(7, 3).double(), torch.arange(7) % 3, torch.tensor([0.2, 1.0, 1.8])
    slow = 0.0
    for row, label in zip(logits, labels, strict=True):
        p = float(row.softmax(0)[label])
        slow -= float(weights[label]) * (1 - p) ** 2 * torch.tensor(p).double().log()
    torch.testing.assert_close(focal(logits, labels, 2.0, weights), slow / 7, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_sure_image_has_a_finite_gradient(dtype, gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], dtype=dtype, requires_grad=True)
    loss = focal(logits, torch.tensor([0, 0]), gamma)
    loss.backward()
    assert bool(loss.isfinite()) and bool(logits.grad.isfinite().all())


def test_weights_begin_at_their_epoch_and_are_no_state():
    weights = DeferredWeights(COUNTS, 0.9999, 3)
    assert weights(2) is None and weights(3) is weights.weights
    torch.testing.assert_close(weights.weights.sum(), torch.tensor(3.0))
    assert weights.state_dict() == {}


def test_refuses_what_is_no_epoch_and_a_class_without_images():
    with pytest.raises(SettingError, match="drw_start_epoch"):
        DeferredWeights(COUNTS, 0.9, -1)
    with pytest.raises(DataError, match="at least one training image"):
        DeferredWeights(torch.tensor([3, 0]), 0.9, 0)

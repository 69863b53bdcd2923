"""The focal contrastive loss against the golden vectors, its equation written out, and its limits."""

import pytest
import torch
from helpers.golden_vectors import golden
from helpers.self_supervised import assert_near, golden_gradients, golden_views, random_views

from lt_bench.losses.focal import focal_nt_xent
from lt_bench.losses.simclr import instance_losses, nt_xent


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
@pytest.mark.parametrize(("dtype", "value", "gradient"), [(torch.float64, 1e-7, 1e-6), (torch.float32, 1e-5, 1e-3)])
def test_equals_the_golden_losses_and_gradients(case, dtype, value, gradient):
    vectors = golden("focal_nt_xent", case)
    first, second = golden_views(vectors, dtype)
    losses = focal_nt_xent(first, second, float(vectors["temperature"]), float(vectors["gamma"]))
    assert losses.dtype == dtype
    assert_near(losses, vectors["per_sample"], value)
    assert_near(losses.mean(), vectors["loss"], value)
    found = torch.autograd.grad(losses.mean(), (first, second))
    for one, expected in zip(found, golden_gradients(vectors), strict=True):
        assert_near(one, expected, gradient)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_the_probabilities_and_weights_are_the_golden_ones(case):
    vectors = golden("focal_nt_xent", case)
    losses = instance_losses(*golden_views(vectors), float(vectors["temperature"])).flatten()
    assert_near((-losses).exp(), vectors["positive_probability"], 1e-7)
    weights = (1 - (-losses).exp()) ** float(vectors["gamma"])
    assert_near(weights, vectors["focal_weight"], 1e-7)
    expected = (vectors["focal_weight"] * losses).view(2, -1).mean(0)
    assert_near(expected, vectors["per_sample"], 1e-7)


def test_without_gamma_it_is_nt_xent():
    first, second = random_views(5)
    torch.testing.assert_close(focal_nt_xent(first, second, 0.2, 0.0), nt_xent(first, second, 0.2))


def test_the_weight_is_differentiated():
    first, second = (view.requires_grad_() for view in random_views(4))
    assert torch.autograd.gradcheck(lambda *views: focal_nt_xent(*views, 0.3, 2.0), (first, second))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_finite_where_a_view_is_certain_of_its_partner(gamma, dtype):
    first = torch.eye(4, dtype=dtype).requires_grad_()
    losses = focal_nt_xent(first, first.detach().clone(), 1e-3, gamma)
    assert bool(losses.isfinite().all()) and float(losses.detach().abs().max()) < 1e-6
    assert bool(torch.autograd.grad(losses.mean(), first)[0].isfinite().all())

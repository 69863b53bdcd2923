"""NT-Xent against the golden vectors, its equation written as loops, and its properties."""

import math

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import golden
from helpers.self_supervised import assert_near, golden_gradients, golden_views, random_views

from lt_bench.losses.simclr import instance_losses, nt_xent
from lt_bench.losses.supcon import supcon

CASES = ["c0", "c1", "c2"]
PRECISIONS = [(torch.float64, 1e-7, 1e-6), (torch.float32, 1e-5, 1e-3)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "value", "gradient"), PRECISIONS)
def test_equals_the_golden_losses_and_gradients(case, dtype, value, gradient):
    vectors = golden("simclr_nt_xent", case)
    first, second = golden_views(vectors, dtype)
    losses = nt_xent(first, second, float(vectors["temperature"]))
    assert losses.dtype == dtype
    assert_near(losses, vectors["per_sample"], value)
    assert_near(losses.mean(), vectors["loss"], value)
    for found, expected in zip(
        torch.autograd.grad(losses.mean(), (first, second)), golden_gradients(vectors), strict=True
    ):
        assert_near(found, expected, gradient)


@pytest.mark.parametrize("constant", [0, 1])
def test_a_view_has_the_same_gradient_where_the_other_is_constant(constant):
    vectors = golden("simclr_nt_xent", "c0")
    both = list(golden_views(vectors))
    both[constant] = both[constant].detach()
    (found,) = torch.autograd.grad(nt_xent(*both, float(vectors["temperature"])).mean(), both[1 - constant])
    assert_near(found, golden_gradients(vectors)[1 - constant], 1e-6)


def test_equals_the_equation_written_as_loops():
    first, second = random_views(4)
    both = [row / row.norm() for row in (*first, *second)]
    for number, anchor in enumerate(both):
        partner = both[(number + 4) % 8]
        others = [row for other, row in enumerate(both) if other != number]
        total = sum(math.exp(float(anchor @ row) / 0.3) for row in others)
        probability = math.exp(float(anchor @ partner) / 0.3) / total
        found = instance_losses(first, second, 0.3)[number // 4, number % 4]
        assert float(found) == pytest.approx(-math.log(probability), rel=1e-12)


def test_its_mean_is_supcon_without_labels():
    first, second = random_views(7)
    features = F.normalize(torch.stack([first, second], dim=1), dim=2)
    torch.testing.assert_close(nt_xent(first, second, 0.2).mean(), supcon(features, None, 0.2, 0.2))


def test_lengths_and_the_order_of_images_and_views_do_not_matter():
    first, second = random_views(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    losses = nt_xent(first, second, 0.2)
    torch.testing.assert_close(nt_xent(3 * second[order], 0.1 * first[order], 0.2), losses[order])


def test_one_image_has_no_loss_and_a_zero_embedding_a_finite_one():
    assert float(nt_xent(*random_views(1), 0.2).abs()) < 1e-14
    first, second = random_views(3)
    first = (0 * first).requires_grad_()
    losses = nt_xent(first, second, 0.2)
    assert bool(losses.isfinite().all())
    assert bool(torch.autograd.grad(losses.mean(), first)[0].isfinite().all())


def test_finite_at_low_temperatures_and_in_single_precision_under_autocast():
    first, second = (view.bfloat16().requires_grad_() for view in random_views(16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = nt_xent(first, second, 1e-3)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, nt_xent(first.float(), second.float(), 1e-3))
    assert all(bool(found.isfinite().all()) for found in torch.autograd.grad(losses.mean(), (first, second)))


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for images in (4, 32):
        first, second = (view.requires_grad_() for view in random_views(images))
        with HostReads() as reads, OpCount() as kernels:
            nt_xent(first, second, 0.2).mean().backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


def test_refuses_views_of_different_shapes():
    with pytest.raises(ValueError, match="two views of one shape"):
        nt_xent(torch.randn(3, 4), torch.randn(2, 4), 0.2)

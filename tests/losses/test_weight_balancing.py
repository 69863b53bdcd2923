"""The loss of weight balancing: binary cross-entropies of the softmax, exact where a probability is nearly one."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads

from lt_bench.losses.weight_balancing import balanced_binary_cross_entropy

LABELS = torch.tensor([0, 2, 1, 0, 3])
WEIGHTS = torch.tensor([0.2, 0.5, 1.3, 2.0], dtype=torch.float64)


def some_logits(scale=1.0):
    return scale * torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_is_the_weighted_mean_of_all_entries_of_pytorchs_binary_cross_entropy():
    targets = F.one_hot(LABELS, 4).double()
    each = F.binary_cross_entropy(some_logits().softmax(1), targets, WEIGHTS[LABELS][:, None].expand(5, 4))
    torch.testing.assert_close(balanced_binary_cross_entropy(some_logits(), LABELS, WEIGHTS), each)


def test_gradient_is_that_of_the_function():
    logits = some_logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: balanced_binary_cross_entropy(rows, LABELS, WEIGHTS), logits)


@pytest.mark.parametrize("scale", [25.0, 300.0])
def test_stays_exact_in_single_precision_where_a_probability_is_nearly_one(scale):
    single = some_logits(scale).float().requires_grad_()
    double = single.detach().double().requires_grad_()
    with HostReads() as reads:
        found = balanced_binary_cross_entropy(single, LABELS, WEIGHTS)
        found.backward()
    expected = balanced_binary_cross_entropy(double, LABELS, WEIGHTS)
    expected.backward()
    assert reads.found == []
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=1e-4, atol=1e-6)


def test_does_not_depend_on_the_order_of_images_or_classes_and_computes_in_single_precision():
    images, classes = torch.randperm(5), torch.randperm(4)
    moved = classes.argsort()[LABELS]
    permuted = balanced_binary_cross_entropy(some_logits()[images][:, classes], moved[images], WEIGHTS[classes])
    torch.testing.assert_close(permuted, balanced_binary_cross_entropy(some_logits(), LABELS, WEIGHTS))
    assert balanced_binary_cross_entropy(some_logits().bfloat16(), LABELS, WEIGHTS).dtype == torch.float32

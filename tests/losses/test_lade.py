"""LADE's term against the authors' function, a slow reference, and its limits."""

import math

import pytest
import torch
from helpers.golden_vectors import golden
from helpers.mixing_losses import CASES, PRECISIONS, compare

from lt_bench.losses.lade import lade
from lt_bench.losses.logit_adjustment import log_prior

LABELS = torch.tensor([0, 0, 0, 1, 1, 3])
LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double()
PRIOR = log_prior(torch.tensor([30, 9, 4, 2]))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("regularisation", [0.1, 0.01])
def test_is_that_of_the_authors(case, dtype, regularisation):
    prior = log_prior(golden("mixing_losses")[f"{case}__counts"])
    compare(case, f"lade_{regularisation}", dtype, lambda z, y: lade(z, y, prior, regularisation, True))


def test_the_authors_epsilon_hardly_matters():
    clean, official = (lade(LOGITS, LABELS, PRIOR, 0.1, epsilon) for epsilon in (False, True))
    assert 0 < abs(float(clean - official)) < 1e-6


def test_is_the_sum_over_classes_also_of_those_without_images():
    expected = 0.0
    for label in range(4):
        own = [float(LOGITS[row, label]) for row in range(6) if LABELS[row] == label]
        first = sum(own) / len(own) if own else 0.0
        shift = math.log(1 / 4) - float(PRIOR[label])
        second = math.log(sum(math.exp(float(value) + shift) for value in LOGITS[:, label]) / 6)
        expected -= math.exp(float(PRIOR[label])) * (first - second - 0.2 * second**2)
    torch.testing.assert_close(float(lade(LOGITS, LABELS, PRIOR, 0.2)), expected)


def test_orders_of_images_and_classes_change_nothing():
    images, classes = torch.randperm(6), torch.randperm(4)
    found = lade(LOGITS[images], LABELS[images], PRIOR, 0.1)
    torch.testing.assert_close(found, lade(LOGITS, LABELS, PRIOR, 0.1))
    other = lade(LOGITS[:, classes], classes.argsort()[LABELS], PRIOR[classes], 0.1)
    torch.testing.assert_close(other, lade(LOGITS, LABELS, PRIOR, 0.1))


def test_is_finite_for_large_logits_and_in_bf16():
    logits = (60 * LOGITS).to(torch.bfloat16).requires_grad_()
    loss = lade(logits, LABELS, PRIOR, 0.01)
    loss.backward()
    assert loss.dtype == torch.float32 and bool(loss.isfinite()) and bool(logits.grad.isfinite().all())

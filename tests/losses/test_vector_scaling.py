"""The vector-scaling loss against the authors' function, and its limits."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden
from helpers.mixing_losses import CASES, PRECISIONS, compare

from lt_bench.errors import DataError, SettingError
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.losses.vector_scaling import vector_scales, vector_scaling, vector_shifts

COUNTS = torch.tensor([40, 9, 1])
LOGITS, LABELS = torch.randn(11, 3, generator=torch.Generator().manual_seed(0)).double(), torch.arange(11) % 3


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("gamma", "tau"), [(0.3, 1.0), (0.2, 1.2), (0.0, 1.0), (0.3, 0.0)])
def test_is_that_of_the_authors(case, dtype, gamma, tau):
    counts = golden("mixing_losses")[f"{case}__counts"]
    scales, shifts = vector_scales(counts, gamma), vector_shifts(counts, tau)
    compare(case, f"vs_{gamma}_{tau}", dtype, lambda z, y: vector_scaling(z, y, scales, shifts))


@pytest.mark.parametrize("case", CASES)
def test_is_that_of_the_authors_with_weights(case):
    stored = golden("mixing_losses")
    counts, weights = stored[f"{case}__counts"], stored[f"{case}__weights"]
    scales, shifts = vector_scales(counts, 0.3), vector_shifts(counts, 1.0)
    compare(case, "vs_drw", torch.float64, lambda z, y: vector_scaling(z, y, scales, shifts, weights))


def test_vectors_are_those_of_the_authors():
    stored, compared = golden("mixing_class_vectors"), 0
    for name, value in stored.items():
        for kind, function in (("vs_delta", vector_scales), ("vs_iota", vector_shifts)):
            if f"__{kind}_" in name:
                counts = stored[f"{name.partition('__')[0]}__counts"]
                gamma, tau = map(float, name.rpartition(f"{kind}_")[2].split("_"))
                own = function(counts, gamma if function is vector_scales else tau)
                torch.testing.assert_close(own, value.double(), rtol=1e-6, atol=1e-7)
                compared += 1
    assert compared >= 4


def test_without_scales_it_is_logit_adjustment_and_without_both_cross_entropy():
    plain = vector_scales(COUNTS, 0.0), vector_shifts(COUNTS, 0.0)
    torch.testing.assert_close(vector_scaling(LOGITS, LABELS, *plain), F.cross_entropy(LOGITS, LABELS))
    shifted = vector_scaling(LOGITS, LABELS, plain[0], vector_shifts(COUNTS, 0.7))
    torch.testing.assert_close(shifted, logit_adjusted_cross_entropy(LOGITS, LABELS, log_prior(COUNTS), 0.7))


def test_classes_in_another_order_change_nothing():
    order = torch.tensor([2, 0, 1])
    scales, shifts = vector_scales(COUNTS, 0.3), vector_shifts(COUNTS, 1.0)
    other = vector_scaling(LOGITS[:, order], order.argsort()[LABELS], scales[order], shifts[order])
    torch.testing.assert_close(other, vector_scaling(LOGITS, LABELS, scales, shifts))


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_refuses_strengths_that_are_none_and_a_class_without_images(value):
    with pytest.raises(SettingError, match="gamma"):
        vector_scales(COUNTS, value)
    with pytest.raises(SettingError, match="tau"):
        vector_shifts(COUNTS, value)
    with pytest.raises(DataError, match="at least one training image"):
        vector_scales(torch.tensor([3, 0]), 0.3)


def test_is_finite_in_bf16():
    scales, shifts = vector_scales(COUNTS, 0.3), vector_shifts(COUNTS, 1.0)
    logits = LOGITS.to(torch.bfloat16).requires_grad_()
    loss = vector_scaling(logits, LABELS, scales, shifts)
    loss.backward()
    assert loss.dtype == torch.float32 and bool(loss.isfinite()) and bool(logits.grad.isfinite().all())

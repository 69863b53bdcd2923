"""Cross-entropy with class weights, against sums written out."""

import pytest
import torch

from lt_bench.losses.cross_entropy import at_least_float32, weighted_cross_entropy

LOGITS = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS, WEIGHTS = torch.tensor([0, 1, 2, 0, 0, 1, 0]), torch.tensor([0.5, 2.0, 3.0])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_mean_is_divided_by_the_weights_of_the_batch(weights):
    own = torch.ones(3) if weights is None else weights
    summands = torch.stack([-own[y] * (z[y] - z.exp().sum().log()) for z, y in zip(LOGITS, LABELS, strict=True)])
    torch.testing.assert_close(weighted_cross_entropy(LOGITS, LABELS, weights, "none"), summands)
    expected = summands.sum() / own.double()[LABELS].sum()
    torch.testing.assert_close(weighted_cross_entropy(LOGITS, LABELS, weights), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_it_is_computed_in_float32_or_better(dtype):
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert at_least_float32(LOGITS.to(dtype)).dtype == wanted
    assert weighted_cross_entropy(LOGITS.to(dtype), LABELS, WEIGHTS).dtype == wanted

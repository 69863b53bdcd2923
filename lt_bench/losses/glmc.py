"""GLMC: cross-entropy of mixed images, whose rare classes weigh more, and two mixtures that predict each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.losses.cross_entropy import at_least_float32, weighted_cross_entropy
from lt_bench.losses.logit_adjustment import positive


def power_weights(counts: Tensor, exponent: float) -> Tensor:
    """Class weights proportional to count^-exponent, with sum C; the exponent 0 gives ones.

    Shapes: counts (C,); returns (C,) float64.
    Raises DataError for a class without images.
    Source: Du et al., CVPR 2023 (GLMC), authors' code.  Deviation: none.
    """
    weights = positive(counts).pow(-exponent)
    return weights * (len(counts) / weights.sum())


def mixed_cross_entropy(
    logits: Tensor, labels: Tensor, others: Tensor, kept: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy against ``kept`` of the own and the rest of another label, each times its class's weight.

    The sum is divided by the images, not by their weights.
    Shapes: logits (B, C), labels, others, kept (B,), weights (C,) or None; returns a scalar, at least float32.
    Source: Du et al., CVPR 2023 (GLMC), eq. (5) and (7), authors' code.  Deviation: two logarithms of an image are
    taken instead of a product with its target (C,).
    """
    own, other = (weighted_cross_entropy(logits, those, weights, "none") for those in (labels, others))
    return torch.lerp(other, own, kept.to(own.dtype)).mean()


def mutual_similarity(predictions: tuple[Tensor, Tensor], projections: tuple[Tensor, Tensor]) -> Tensor:
    """The mean cosine between each mixture's prediction and the other's projection, which has no gradient; their sum.

    Shapes: four times (B, D); returns a scalar in [-2, 2], at least float32.
    Source: Du et al., CVPR 2023 (GLMC), eq. (3), authors' code, after Chen and He, CVPR 2021.  Deviation: none.
    """
    pairs = zip(predictions, reversed(projections), strict=True)
    similarities = [F.cosine_similarity(at_least_float32(one), other.detach(), dim=1).mean() for one, other in pairs]
    return similarities[0] + similarities[1]

"""Cross-entropy with class weights, the last step of several losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits in a precision in which sums of exponentials are exact enough."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy averaged with class weights: the sum of weights that it is divided by is that of the batch.

    Shapes: logits (B, C), labels (B,), weights (C,) or None; returns a scalar, with the reduction "none" the summands
    (B,), at least float32.
    """
    logits = at_least_float32(logits)
    return F.cross_entropy(logits, labels, None if weights is None else weights.to(logits.dtype), reduction=reduction)

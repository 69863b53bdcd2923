"""Label-distribution-aware margin loss, and the same with deferred class weights."""

from __future__ import annotations

import math

from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32, weighted_cross_entropy
from lt_bench.losses.logit_adjustment import positive
from lt_bench.losses.reweighted import DeferredWeights


def ldam_margins(counts: Tensor, max_margin: float) -> Tensor:
    """Margins proportional to counts^(-1/4), the rarest class having ``max_margin``.

    Shapes: counts (C,); returns (C,) float64. Raises DataError for a class without images.
    Source: Cao et al., NeurIPS 2019, eq. (13), scaled as in the authors' code.  Deviation: none.
    """
    counts = positive(counts)
    return max_margin * (counts / counts.min()) ** -0.25


def ldam(
    logits: Tensor,
    labels: Tensor,
    margins: Tensor,
    scale: float,
    weights: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Scaled cross-entropy with a class-dependent margin removed from the true logit, averaged with class weights.

    Shapes: logits (B, C) cosines, labels (B,), margins (C,), weights (C,) or None; returns a scalar, with the reduction
    "none" the summands (B,), at least float32.
    Source: Cao et al., NeurIPS 2019, eq. (12)-(13); scale and weighted mean as in the authors' code.  Deviation: none.
    """
    logits = at_least_float32(logits)
    target = labels[:, None]
    logits = logits.scatter_add(1, target, -margins.to(logits.dtype)[target])
    return weighted_cross_entropy(scale * logits, labels, weights, reduction)


class DeferredLDAM(nn.Module):
    """The LDAM loss of a training set, whose class weights are all one before epoch ``drw_start_epoch``.

    Shapes: counts (C,) images per class. What it holds follows from ``counts``, so its state is empty.
    Source: Cao et al., NeurIPS 2019, algorithm 1, epochs counted from 0.  Deviation: none.
    Raises DataError for a class without images, SettingError for values out of range.
    """

    margins: Tensor

    def __init__(self, counts: Tensor, max_margin: float, scale: float, beta: float, drw_start_epoch: int) -> None:
        super().__init__()
        if not 0 < scale < math.inf:
            raise SettingError("scale", "above 0", scale, 30)
        if not 0 <= max_margin < math.inf:
            raise SettingError("max_margin", "0 or more", max_margin, 0.5)
        self.scale, self.weights = scale, DeferredWeights(counts, beta, drw_start_epoch)
        self.register_buffer("margins", ldam_margins(counts, max_margin).float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """Shapes: logits (B, C), ``scale`` times a cosine, labels (B,); returns a scalar, or summands (B,)."""
        return ldam(logits / self.scale, labels, self.margins, self.scale, self.weights(epoch), reduction)

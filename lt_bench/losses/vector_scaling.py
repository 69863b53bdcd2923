"""Cross-entropy of logits that are divided and shifted by class while training."""

from __future__ import annotations

import math

from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32, weighted_cross_entropy
from lt_bench.losses.logit_adjustment import log_prior, positive


def vector_scales(counts: Tensor, gamma: float) -> Tensor:
    """Divisors of the logits, (largest count / count)^gamma.

    Shapes: counts (C,); returns (C,) float64, at least 1.
    Raises DataError for a class without images, SettingError for a negative or infinite ``gamma``.
    Source: Kini et al., NeurIPS 2021, authors' code.  Deviation: none.
    """
    if not 0 <= gamma < math.inf:
        raise SettingError("gamma", "0 (no scaling) or more", gamma, 0.3)
    counts = positive(counts)
    return (counts.max() / counts) ** gamma


def vector_shifts(counts: Tensor, tau: float) -> Tensor:
    """What is added to the logits, tau * log share of the class.

    Shapes: counts (C,); returns (C,) float64.
    Raises DataError for a class without images, SettingError for a negative or infinite ``tau``.
    Source: Kini et al., NeurIPS 2021, authors' code.  Deviation: none.
    """
    if not 0 <= tau < math.inf:
        raise SettingError("tau", "0 (no shift) or more", tau, 1.0)
    return tau * log_prior(counts)


def vector_scaling(
    logits: Tensor,
    labels: Tensor,
    scales: Tensor,
    shifts: Tensor,
    weights: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of logits / scales + shifts, averaged with class weights.

    Shapes: logits (B, C), labels (B,), scales, shifts and weights (C,); returns a scalar, with the reduction "none" the
    summands (B,), at least float32.
    Source: Kini et al., NeurIPS 2021, eq. (2), authors' code.  Deviation: none.
    """
    logits = at_least_float32(logits)
    adjusted = logits / scales.to(logits.dtype) + shifts.to(logits.dtype)
    return weighted_cross_entropy(adjusted, labels, weights, reduction)

"""Cross-entropy whose logits carry the class prior while training."""

from __future__ import annotations

from torch import Tensor

from lt_bench.errors import DataError
from lt_bench.losses.cross_entropy import at_least_float32, weighted_cross_entropy


def positive(counts: Tensor) -> Tensor:
    """Images per class, (C,), in float64; raises DataError for a class without any."""
    if counts.numel() == 0 or bool((counts < 1).any()):
        raise DataError(
            f"expected at least one training image in every class, found counts {counts.tolist()}; cut a shorter tail, "
            "or hold out fewer images for validation"
        )
    return counts.double()


def log_prior(counts: Tensor) -> Tensor:
    """Log share of every class in the training images.

    Shapes: counts (C,); returns (C,) float64. Raises DataError for a class without images, whose prior has no log.
    Source: Menon et al., ICLR 2021, with the empirical frequencies.  Deviation: none.
    """
    counts = positive(counts)
    return counts.log() - counts.sum().log()


def logit_adjusted_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    log_prior: Tensor,
    tau: float,
    weights: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean cross-entropy of logits + tau * log_prior; tau = 1 is Balanced Softmax, tau = 0 plain cross-entropy.

    With class ``weights`` the mean is the weighted one: the sum of weights that it is divided by is that of the batch.
    Shapes: logits (B, C), labels (B,), log_prior and weights (C,); returns a scalar, with the reduction "none" the
    summands (B,), at least float32.
    Source: Menon et al., ICLR 2021; Ren et al., NeurIPS 2020, for tau = 1; weights as in the authors' code of BCL (Zhu
    et al., CVPR 2022).  Deviation: none.
    """
    logits = at_least_float32(logits)
    adjusted = logits + tau * log_prior.to(logits.dtype)
    return weighted_cross_entropy(adjusted, labels, weights, reduction)

"""Region Rebalance: losses of pixels and of region features, whose classes are as rare as images with them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.losses.segmentation_ce import enlarged, joint_mean, pixel_loss
from lt_bench.models.regions import (
    TINY,
    Gather,
    alone,
    classes_present,
    image_bias,
    predicted_regions,
    true_regions,
)


def log_prior(image_counts: Tensor) -> Tensor:
    """Logarithm of each class's share of the counts of images with it, (C,) -> (C,)."""
    counts = at_least_float32(image_counts)
    return (counts / counts.sum() + TINY).log()


def extended(prior: Tensor) -> Tensor:
    """A logarithm of a prior (C,) with the 0 of the further class «none of these», (C + 1,)."""
    return F.pad(prior, (0, 1))


def region_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    prior: Tensor | None = None,
    smooth: float = 1.0,
    gather: Gather = alone,
) -> Tensor:
    """Smoothed cross-entropy of region logits plus a log prior, averaged over regions by weights of 0 and 1.

    ``smooth`` is the weight of the label, 1 for none; the others share the rest. Where every process has the same
    regions, the mean needs no ``gather``.
    Shapes: logits (R, K), labels (R,), weights (R,), prior (K,).
    """
    logits = at_least_float32(logits)
    likely = torch.log_softmax(logits if prior is None else logits + prior.to(logits.dtype), dim=1)
    own = likely.gather(1, labels[:, None])[:, 0]
    losses = -(smooth * own + (1 - smooth) / (likely.shape[1] - 1) * (likely.sum(1) - own))
    weights = weights.to(losses.dtype)
    return joint_mean((weights * losses).sum(), weights.sum(), gather)


def two_pass_losses(
    pixel_logits: Tensor,
    mask: Tensor,
    true: tuple[Tensor, Tensor],
    predicted: Tensor,
    prior: Tensor | None,
    *,
    smooth: float,
    negatives: bool = True,
    gather: Gather = alone,
    ignored_in_mean: bool = False,
) -> dict[str, Tensor]:
    """The five terms of the form with a second pass, without their weights.

    ``true`` are the logits (C + 1, C + 1) of the regions of labels and which of them occur, ``predicted`` those
    (N, C, C + 1) of the predicted regions; ``prior`` (C,) is added to both where it is given. ``negatives``: whether
    regions of the class «none of these» count. Shapes else as ``region_rebalance``.
    Source: Cui et al., arXiv 2204.01969, authors' code (rr.py).  Deviation: a batch without a label costs nothing.
    """
    classes = pixel_logits.shape[1]
    prior = None if prior is None else extended(prior)
    large, bias = enlarged(pixel_logits, mask.shape), image_bias(predicted)[:, :, None, None]
    present = classes_present(mask, classes)
    masked = (large + bias) * present[:, :, None, None]
    true_logits, occurs = true
    own = torch.arange(classes + 1, device=mask.device)
    targets = torch.where(present, own[:classes], classes).flatten()
    trained = (torch.ones_like(targets), occurs)
    if not negatives:
        trained = (targets < classes, occurs & (own < classes))
    return {
        "loss_pixel": pixel_loss(large, mask, gather, ignored_in_mean),
        "loss_pixel_biased": pixel_loss(large + bias, mask, gather, ignored_in_mean),
        "loss_pixel_masked": pixel_loss(masked, mask, gather, ignored_in_mean),
        "loss_region_predicted": region_loss(predicted.flatten(0, 1), targets, trained[0], prior, smooth, gather),
        "loss_region_true": region_loss(true_logits, own, trained[1], prior, smooth),
    }


def region_rebalance(
    features: Tensor,
    pixel_logits: Tensor,
    mask: Tensor,
    branch: Callable[[Tensor], Tensor],
    prior: Tensor | None,
    *,
    gather: Gather = alone,
    **how: object,
) -> dict[str, Tensor]:
    """``two_pass_losses`` of pixel features and a branch from region features (..., D) to logits (..., C + 1).

    Shapes: features (N, D, h, w), pixel_logits (N, C, h, w), mask (N, H, W) uint8, prior (C,).
    """
    regions, occurs = true_regions(features, mask, pixel_logits.shape[1], gather)
    true, predicted = (branch(regions), occurs), branch(predicted_regions(features, pixel_logits))
    return two_pass_losses(pixel_logits, mask, true, predicted, prior, gather=gather, **how)  # type: ignore[arg-type]

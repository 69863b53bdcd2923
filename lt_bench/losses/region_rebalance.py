"""Region Rebalance: losses of pixels and of region features, whose classes are as rare as images with them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.losses.segmentation_ce import joint_mean, pixel_loss
from lt_bench.models.maps import enlarged
from lt_bench.models.regions import (
    ALL,
    TINY,
    Gather,
    Pools,
    Resolution,
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


def extended(prior: Tensor, extra_prior: float = 1.0) -> Tensor:
    """A logarithm of a prior (C,) with that of the further class «none of these», (C + 1,)."""
    return F.pad(prior, (0, 1), value=math.log(extra_prior))


def region_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    prior: Tensor | None = None,
    smooth: float = 1.0,
    gather: Gather = alone,
) -> Tensor:
    """Smoothed cross-entropy of region logits plus a log prior, averaged over regions by their weights.

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


def pooled_region_loss(logits: Tensor, weights: Tensor, prior: Tensor | None = None, smooth: float = 1.0) -> Tensor:
    """``region_loss`` of the regions (G, K) of each pool of images, averaged over the pools that have one.

    So it is the mean of what processes with a pool each have. Shapes: logits (G, K, K), weights (G, K), prior (K,).
    """
    labels = torch.arange(logits.shape[1], device=logits.device)
    pools = zip(logits, weights, strict=True)
    losses = [region_loss(one, labels, counted, prior, smooth) for one, counted in pools]
    return torch.stack(losses).sum() / (weights > 0).any(1).sum().clamp(min=1)


def two_pass_losses(
    pixel_logits: Tensor,
    mask: Tensor,
    true: tuple[Tensor, Tensor],
    predicted: Tensor,
    prior: Tensor | None,
    *,
    smooth: float,
    negative_weight: float = 1.0,
    extra_prior: float = 1.0,
    gather: Gather = alone,
    ignored_in_mean: bool = False,
) -> dict[str, Tensor]:
    """The five terms of the form with a second pass, without their weights.

    ``true`` are the logits (G, C + 1, C + 1) of the regions of labels in each pool of images and which of them occur,
    ``predicted`` those (N, C, C + 1) of the predicted regions; ``prior`` (C,) is added to both where it is given, with
    the logarithm of ``extra_prior`` for the class «none of these», whose regions count ``negative_weight``.
    Shapes else as ``region_rebalance``.
    Source: Cui et al., arXiv 2204.01969, authors' code (rr.py).  Deviation: a batch without a label costs nothing;
    there every ``negative_weight`` but 0 counts as 1.
    """
    classes = pixel_logits.shape[1]
    prior = None if prior is None else extended(prior, extra_prior)
    large, bias = enlarged(pixel_logits, mask.shape), image_bias(predicted)[:, :, None, None]
    present = classes_present(mask, classes)
    masked = (large + bias) * present[:, :, None, None]
    true_logits, occurs = true
    own = torch.arange(classes + 1, device=mask.device)
    counted = torch.where(own < classes, 1.0, negative_weight).to(large.dtype)  # by class
    targets = torch.where(present, own[:classes], classes).flatten()
    return {
        "loss_pixel": pixel_loss(large, mask, gather, ignored_in_mean),
        "loss_pixel_biased": pixel_loss(large + bias, mask, gather, ignored_in_mean),
        "loss_pixel_masked": pixel_loss(masked, mask, gather, ignored_in_mean),
        "loss_region_predicted": region_loss(predicted.flatten(0, 1), targets, counted[targets], prior, smooth, gather),
        "loss_region_true": pooled_region_loss(true_logits, occurs * counted, prior, smooth),
    }


def region_rebalance(
    features: Tensor,
    pixel_logits: Tensor,
    mask: Tensor,
    branch: Callable[[Tensor], Tensor],
    prior: Tensor | None,
    *,
    pools: Pools = ALL,
    resolution: Resolution = "feature",
    **how: object,
) -> dict[str, Tensor]:
    """``two_pass_losses`` of pixel features and a branch from region features to logits (..., C + 1).

    It is given those of all labels (R, D), then those of predicted regions (N, C, D). True regions are of ``pools`` of
    images, at a ``resolution``, see ``true_regions``; beside the terms stands how many of these ``regions`` there are.
    Shapes: features (N, D, h, w), pixel_logits (N, C, h, w), mask (N, H, W) uint8, prior (C,).
    """
    regions, occurs = true_regions(features, mask, pixel_logits.shape[1], pools, resolution=resolution)
    true = branch(regions.flatten(0, 1)).unflatten(0, regions.shape[:2])
    predicted = branch(predicted_regions(features, pixel_logits))
    terms = two_pass_losses(pixel_logits, mask, (true, occurs), predicted, prior, gather=pools.gather, **how)  # type: ignore[arg-type]
    return {**terms, "regions": occurs.sum().float()}

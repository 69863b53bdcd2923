"""Balanced contrastive loss (Zhu et al., CVPR 2022)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.losses.supcon import exclude_self, logsumexp_in_place

OwnClassDenominator = Literal["positives", "size"]


def balanced_contrastive(
    features: Tensor,
    prototypes: Tensor,
    labels: Tensor,
    temperature: float,
    own_class_denominator: OwnClassDenominator = "positives",
) -> Tensor:
    """Supervised contrastive loss that all class prototypes join and whose denominator averages within each class.

    Every view is an anchor, no prototype is; an anchor is left out of its own class. That class is averaged over what
    is left of it (``positives``) or divided by its whole size, the anchor counted (``size``).
    Shapes: features (B, V, D) and prototypes (C, D) unit length, labels (B,); returns a scalar, at least float32.
    Source: Zhu et al., CVPR 2022, class-averaging and class-complement: ``positives`` is the authors' code, ``size``
    the formula as it is usually quoted.  Deviation: none.
    Raises ValueError for features without a dimension of views, SettingError for another ``own_class_denominator``.
    """
    if features.ndim != 3:
        raise ValueError(f"expected features (B, V, D), found {tuple(features.shape)}")
    if own_class_denominator not in ("positives", "size"):
        raise SettingError("own_class_denominator", "positives or size", own_class_denominator, "positives")
    dtype = torch.promote_types(features.dtype, torch.float32)
    features, prototypes = features.to(dtype), prototypes.to(dtype)
    images, views, _ = features.shape
    sizes = torch.ones_like(prototypes[:, 0]).index_add(0, labels, features.new_full((images,), views))
    sums = prototypes.index_add(0, labels, features.sum(1))
    own_sizes = sizes[labels]

    embeddings = features.transpose(0, 1)  # all images of the first view, then all of the next
    # not sums[labels], whose gradient on a CPU depends on which thread is first
    positives = (embeddings * (sums.index_select(0, labels) - embeddings)).sum(2) / (own_sizes - 1)
    anchors = embeddings.flatten(0, 1)
    log_weights = -torch.cat([own_sizes.repeat(views), sizes]).log()
    with torch.autocast(features.device.type, enabled=False):
        scores = torch.addmm(log_weights, anchors / temperature, torch.cat([anchors, prototypes]).T)
    if own_class_denominator == "positives":
        _raise_own_class(scores, labels, (own_sizes / (own_sizes - 1)).log())
    return logsumexp_in_place(exclude_self(scores)).mean() - positives.mean() / temperature


def _raise_own_class(scores: Tensor, labels: Tensor, amounts: Tensor) -> None:
    """Add its class's amount to every score of an anchor and an item of its class, in place.

    Shapes: scores (VB, VB + C), labels (B,), amounts (B,). Constants have no gradient, so they stay out of the graph.
    """
    images, views = len(labels), len(scores) // len(labels)
    contrast, prototypes = scores.detach().split([len(scores), scores.shape[1] - len(scores)], dim=1)
    # one mask of the images serves every pair of views
    contrast.view(views, images, views, images).add_(((labels[:, None] == labels) * amounts)[:, None])
    prototypes.scatter_add_(1, labels.repeat(views)[:, None], amounts.repeat(views)[:, None])

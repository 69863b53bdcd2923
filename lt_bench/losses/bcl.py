"""Balanced contrastive loss (Zhu et al., CVPR 2022)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.losses.contrast import by_view, log_denominators, positive_sums

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
    rows = torch.cat([by_view(features.to(dtype)), prototypes.to(dtype)])
    (images, views, _), classes = features.shape, len(prototypes)
    row_labels = torch.cat([labels.repeat(views), torch.arange(classes, device=labels.device)])
    anchors = images * views
    bias = _log_weights(labels, views, classes, own_class_denominator, dtype)
    denominators = log_denominators(rows, anchors, temperature, bias)
    positives, counts = positive_sums(rows, row_labels, anchors, classes)
    return (denominators - positives / (temperature * counts)).mean()


def _log_weights(
    labels: Tensor, views: int, classes: int, own_class_denominator: OwnClassDenominator, dtype: torch.dtype
) -> Tensor:
    """Minus the log of what the exponential of every anchor's score with every row is divided by.

    That is the size of the row's class, its prototype counted, and in the anchor's own class, where its ``positives``
    are meant, one less. Shapes: labels (B,); returns (VB, VB + C).
    """
    anchors = views * len(labels)
    sizes = torch.ones(classes, dtype=dtype, device=labels.device)
    sizes.index_add_(0, labels, sizes.new_full((len(labels),), views))
    other, own = torch.stack([sizes, sizes - 1]).log().neg().unbind()
    weights = sizes.new_empty(anchors, anchors + classes)
    of_views, of_prototypes = weights.split([anchors, classes], dim=1)
    of_prototypes.copy_(other)
    by_image = other.index_select(0, labels)[None]
    if own_class_denominator == "positives":
        own = own.index_select(0, labels)
        by_image = torch.where(labels[:, None] == labels, own, by_image)
        of_prototypes.scatter_(1, labels.repeat(views)[:, None], own.repeat(views)[:, None])
    # what stands for two images stands for every pair of their views
    of_views.view(views, len(labels), views, len(labels)).copy_(by_image[:, None])
    return weights

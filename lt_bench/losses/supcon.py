"""Supervised contrastive loss."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.losses.contrast import by_view, log_denominators, positive_sums, renumbered


def supcon(features: Tensor, labels: Tensor | None, temperature: float, base_temperature: float) -> Tensor:
    """Supervised contrastive loss with every view as anchor; without labels an image's other views are its positives.

    Shapes: features (B, V, D) unit length, V >= 2, labels (B,) or None; returns a scalar, at least float32.
    Source: Khosla et al., NeurIPS 2020, eq. (2), with the factor temperature / base_temperature of the authors' code;
    without labels Chen et al., ICML 2020, eq. (1).  Deviation: none.
    Raises ValueError for fewer than two views.
    """
    images, views, _ = features.shape
    if views < 2:
        raise ValueError(f"expected features (B, V, D) with at least two views, found {tuple(features.shape)}")
    groups = torch.arange(images, device=features.device) if labels is None else renumbered(labels)
    rows = by_view(features.to(torch.promote_types(features.dtype, torch.float32)))
    sums, counts = positive_sums(rows, groups.repeat(views), len(rows), images)
    denominators = log_denominators(rows, len(rows), temperature)
    return temperature / base_temperature * (denominators - sums / (temperature * counts)).mean()

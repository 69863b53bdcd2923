"""NT-Xent, the contrastive loss of SimCLR, image by image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.losses.contrast import log_denominators


def instance_losses(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Minus the log probability with which each view finds its partner among all other views.

    Shapes: embeddings of the two views (B, D), of any length; returns (2, B), the first view's in the first row, at
    least float32.
    Source: Chen et al., ICML 2020, eq. (1).  Deviation: none.
    Raises ValueError where the two views differ in shape.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"expected two views of one shape (B, D), found {tuple(first.shape)}, {tuple(second.shape)}")
    rows = torch.cat([first, second])
    rows = F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)
    denominators = log_denominators(rows, len(rows), temperature)
    first, second = rows.chunk(2)
    # scaled as the scores are, so that both round alike
    return denominators.view(2, -1) - (first * second).sum(1) * (1 / temperature)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy of every image, the mean of its two views; the loss is their mean.

    Shapes: embeddings of the two views (B, D), of any length; returns (B,), at least float32.
    Source: Chen et al., ICML 2020, eq. (1).  Deviation: none.
    Raises ValueError where the two views differ in shape.
    """
    return instance_losses(first, second, temperature).mean(0)

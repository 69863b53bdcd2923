"""RIDE's router: after which experts an image needs a further one, and the loss of telling that."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.models.router import running_means


def needs_more(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the first experts are wrong together and would be right with further ones, for all but all of them.

    Shapes: logits (B, K, C), labels (B,) -> (B, K - 1) bool.
    """
    right = running_means(logits).argmax(2) == labels[:, None]
    later = right.flip(1).cumsum(1).flip(1)[:, 1:] > 0
    return later & ~right[:, :-1]


def routing_loss(scores: Tensor, needed: Tensor, weight: float) -> Tensor:
    """Mean binary cross-entropy of scores (B, K - 1), in which an image that needs more counts ``weight`` times.

    Source: Wang et al., ICLR 2021 (RIDE), authors' code.  Deviation: none.
    """
    positive = torch.full((), weight, dtype=scores.dtype, device=scores.device)
    return F.binary_cross_entropy_with_logits(scores, needed.to(scores.dtype), pos_weight=positive)

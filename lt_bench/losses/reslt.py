"""The loss of ResLT: branches that are trained on nested sets of classes, and the sum of their logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32


class ResidualLoss(NamedTuple):
    """The loss () and its two parts: the pooled cross-entropy of the branches, and that of their sum."""

    loss: Tensor
    branches: Tensor
    fusion: Tensor


def class_ranks(counts: Tensor) -> Tensor:
    """The rank of every class by its images (C,): 0 is the smallest, and of equals the one with the smaller id.

    Source: Cui et al., TPAMI 2022, authors' code.  Deviation: their sort is not stable.
    """
    return counts.argsort(stable=True).argsort()


def class_sets(counts: Tensor, shares: Sequence[float]) -> Tensor:
    """The classes of each branch, (K, C) bool: all, then for each share that part of them, smallest first.

    Raises SettingError unless shares fall, above 0 and at most 1.
    """
    usual = [0.65, 0.3]
    if not shares or list(shares) != sorted(shares, reverse=True) or not all(0 < share <= 1 for share in shares):
        raise SettingError("shares", "one share or more, above 0, at most 1 and falling", list(shares), usual)
    sizes = [len(counts), *(math.floor(share * len(counts) + 0.5) for share in shares)]
    return class_ranks(counts) < torch.tensor(sizes, device=counts.device)[:, None]


def residual_loss(
    logits: Tensor,
    labels: Tensor,
    sets: Tensor,
    branch_weight: float,
    log_epsilon: float = 0.0,
    fusion_log_epsilon: float = 0.0,
    smoothing: float = 0.0,
) -> ResidualLoss:
    """``branch_weight`` times the branches' cross-entropy plus the rest times that of the sum of their logits.

    Shapes: logits (B, K, C), labels (B,), sets (K, C) bool, the first with all classes. A branch sees the images of its
    classes alone; one normaliser, the number of images over all branches, is for all. ``smoothing`` goes to the other
    classes in equal parts. An epsilon is added to probabilities before the logarithm. In at least float32.
    Source: Cui et al., TPAMI 2022, authors' code, whose epsilon is 1e-7.  Deviation: none; without an epsilon an
    image with a small probability keeps its gradient.
    """
    logits = at_least_float32(logits)
    active = sets[:, labels].T.to(logits.dtype)
    own = _cross_entropies(logits, labels[:, None].expand(logits.shape[:2]), log_epsilon, smoothing)
    branches = (active * own).sum() / active.sum()
    fusion = _cross_entropies(logits.sum(1), labels, fusion_log_epsilon, smoothing).mean()
    return ResidualLoss(branch_weight * branches + (1 - branch_weight) * fusion, branches, fusion)


def _cross_entropies(logits: Tensor, labels: Tensor, epsilon: float, smoothing: float) -> Tensor:
    """Shapes: logits (..., C), labels (...) -> (...)."""
    logs = (logits.softmax(-1) + epsilon).log() if epsilon else logits.log_softmax(-1)
    own = logs.gather(-1, labels[..., None])[..., 0]
    if not smoothing:
        return -own
    return (smoothing - 1) * own - smoothing / (logits.shape[-1] - 1) * (logs.sum(-1) - own)

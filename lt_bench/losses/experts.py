"""Losses of several experts on the same images, whose logits each carry a bias of their own."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.losses.logit_adjustment import positive

EPSILON = 1e-9  # of the authors' code, beside every share of a class
Spread = Literal["limits", "uniform"]


def log_shares(counts: Tensor) -> Tensor:
    """Log of every class's share of the training images plus 1e-9, (C,) -> (C,) float64.

    Raises DataError for a class without images. Source: authors' code of SADE and BalPoE.  Deviation: none.
    """
    counts = positive(counts)
    return (counts / counts.sum() + EPSILON).log()


def expert_taus(count: int, least: float, most: float, spread: Spread = "limits") -> Tensor:
    """How much of the prior each expert carries, (K,) float64: equidistant from ``least`` to ``most``.

    With the spread ``uniform``, and where there is one expert, they are the midpoints of as many equal intervals.
    Source: Aimar et al., CVPR 2023 (BalPoE), authors' code.  Deviation: none. Raises SettingError for other spreads.
    """
    if spread not in ("limits", "uniform"):
        raise SettingError("spread", "limits or uniform", spread, "limits")
    if spread == "limits" and count > 1:
        return torch.linspace(least, most, count, dtype=torch.float64)
    return least + (most - least) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def inverse_counts(counts: Tensor) -> Tensor:
    """The counts handed out the other way round, (C,) -> (C,): the rarest class has those of the most frequent one.

    Source: Zhang et al., NeurIPS 2022 (SADE), authors' code.  Deviation: of equal classes the one with the lower number
    counts as rarer, where theirs are in no order.
    """
    order = counts.argsort(stable=True)
    return torch.empty_like(counts).index_copy_(0, order, counts[order.flip(0)])


def skill_biases(counts: Tensor, tau: float) -> Tensor:
    """What SADE adds to the logits of its three experts, (3, C) float64: 0, log pi, log pi - tau * log inverse pi.

    Shapes: counts (C,). Raises DataError for a class without images.
    Source: Zhang et al., NeurIPS 2022, authors' code.  Deviation: that of ``inverse_counts``.
    """
    prior, inverse = log_shares(counts), log_shares(inverse_counts(counts))
    return torch.stack([torch.zeros_like(prior), prior, prior - tau * inverse])


def biased_cross_entropy(logits: Tensor, labels: Tensor, bias: Tensor, reduction: str = "mean") -> Tensor:
    """The mean over experts of the cross-entropy of their logits with a bias added.

    Shapes: logits (B, K, C), labels (B,), bias (K, C); returns a scalar, with the reduction "none" the means over
    experts (B,), at least float32.
    Source: Aimar et al., CVPR 2023 (BalPoE), authors' code.  Deviation: none.
    """
    biased = at_least_float32(logits)
    biased = biased + bias.to(biased.dtype)
    losses = F.cross_entropy(biased.transpose(1, 2), labels[:, None].expand(-1, logits.shape[1]), reduction="none")
    return losses.mean() if reduction == "mean" else losses.mean(1)

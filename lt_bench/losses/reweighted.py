"""Weights of classes by their effective number of images, from an epoch on, and the losses that are weighted so."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError, renamed
from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.losses.logit_adjustment import positive


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """Class weights proportional to (1 - beta) / (1 - beta^count), with sum C; beta = 0 gives ones.

    Shapes: counts (C,); returns (C,) float64.
    Raises DataError for a class without images, SettingError for beta outside [0, 1).
    Source: Cui et al., CVPR 2019, eq. (2).  Deviation: 1 - beta^count is taken with ``expm1``, exact for beta near 1.
    """
    if not 0 <= beta < 1:
        raise SettingError("beta", "at least 0 (no weights) and below 1", beta, 0.9999)
    log_beta = math.log(beta) if beta > 0 else -math.inf
    weights = -1 / torch.expm1(positive(counts) * log_beta)
    return weights * (len(counts) / weights.sum())


def class_weights(counts: Tensor, class_weight_beta: float) -> Tensor | None:
    """``effective_number_weights`` in single precision for methods whose weights are an option, None where beta is 0.

    Shapes: counts (C,); returns (C,) float32. Raises DataError as there, SettingError for ``class_weight_beta``.
    """
    with renamed(beta="class_weight_beta"):
        weights = effective_number_weights(counts, class_weight_beta)
    return weights.float() if class_weight_beta else None


class DeferredWeights(nn.Module):
    """The effective-number weights of a training set, none before epoch ``drw_start_epoch``.

    Shapes: counts (C,) images per class. What it holds follows from ``counts``, so its state is empty.
    Source: Cao et al., NeurIPS 2019, algorithm 1, epochs counted from 0.  Deviation: none.
    Raises DataError for a class without images, SettingError for values out of range.
    """

    weights: Tensor

    def __init__(self, counts: Tensor, beta: float, drw_start_epoch: int) -> None:
        super().__init__()
        if drw_start_epoch < 0:
            raise SettingError("drw_start_epoch", "0 (at once) or more", drw_start_epoch, 0)
        self.drw_start_epoch = drw_start_epoch
        self.register_buffer("weights", effective_number_weights(counts, beta).float(), persistent=False)

    def begun(self, epoch: int) -> bool:
        """Whether an epoch has weights."""
        return epoch >= self.drw_start_epoch

    def forward(self, epoch: int) -> Tensor | None:
        """The weights (C,) of an epoch, None where all are one."""
        return self.weights if self.begun(epoch) else None


def focal(
    logits: Tensor,
    labels: Tensor,
    gamma: float,
    weights: Tensor | None = None,
    inside: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Mean over images of (1 - p)^gamma * w * l, l the cross-entropy, p = exp(-l) and w the weight of its class.

    ``inside`` takes p = exp(-w * l) instead, which is no probability. The factor is differentiated.
    Shapes: logits (B, C), labels (B,), weights (C,) or None; returns a scalar, with the reduction "none" the summands
    (B,), at least float32.
    Source: Lin et al., ICCV 2017, eq. (5) for softmax; ``inside`` as in the authors' code of LDAM-DRW.  Deviation:
    1 - p is taken with ``expm1``, and at l = 0 as the least positive number, so that every gamma has a gradient.
    """
    logits = at_least_float32(logits)
    plain = F.cross_entropy(logits, labels, reduction="none")
    weighted = plain if weights is None else plain * weights.to(plain.dtype)[labels]
    missed = -torch.expm1(-(weighted if inside else plain))
    losses = missed.clamp(min=torch.finfo(plain.dtype).tiny) ** gamma * weighted
    return losses.mean() if reduction == "mean" else losses

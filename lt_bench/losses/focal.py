"""NT-Xent with the focal weight: views that find their partner easily count less."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.losses.simclr import instance_losses


def focal_nt_xent(first: Tensor, second: Tensor, temperature: float, gamma: float) -> Tensor:
    """(1 - P)^gamma times the NT-Xent of every view with positive probability P, the mean of an image's two views.

    The weight is differentiated. Shapes: embeddings of the two views (B, D), of any length; returns (B,), at least
    float32; the loss is their mean.
    Source: Lin et al., ICCV 2017, on the probabilities of Chen et al., ICML 2020, as in the authors' code of GH (Zhou
    et al., NeurIPS 2023).  Deviation: none.
    Raises ValueError where the two views differ in shape.
    """
    losses = instance_losses(first, second, temperature)
    # rounding can take a loss below 0, and the root of 0 has no derivative
    missed = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny)
    return (missed**gamma * losses).mean(0)

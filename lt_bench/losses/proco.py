"""Probabilistic contrastive logits: the expected similarity to a class instead of to its images (Du et al., 2024)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.geometry.bessel import log_bessel_change, official_log_bessel

Bessel = Literal["asymptotic", "official"]


def contrastive_logits(
    embeddings: Tensor, directions: Tensor, kappa: Tensor, temperature: float, bessel: Bessel = "asymptotic"
) -> Tensor:
    """Log of the mean of exp(z . x / temperature) over features x of a class, which is von Mises-Fisher distributed.

    That is g(|kappa mu + z / temperature|) - g(kappa), where g(x) = log I_nu(x) - nu log x and nu = D / 2 - 1.
    Shapes: embeddings z (B, D) of unit length, which is not assumed, directions mu (C, D), kappa (C,); returns (B, C)
    in at least float32, in float64 with ``bessel="official"``.
    Source: Du et al., TPAMI 2024.  Deviation: g by a uniform expansion; "official" is the recurrence of the authors'
    code, wrong for kappa far above D, which needs an even D.
    Raises SettingError for another ``bessel``, and for an odd D where the recurrence is asked for.
    """
    if bessel not in ("asymptotic", "official"):
        raise SettingError("bessel", "asymptotic or official", bessel, "asymptotic")
    dim = embeddings.shape[1]
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)) / temperature
    with torch.autocast(embeddings.device.type, enabled=False):
        products = rows @ directions.to(rows.dtype).T
    kappa = kappa.to(rows.dtype)
    squared = kappa.square()
    change = torch.addcmul(rows.square().sum(1, keepdim=True), 2 * kappa, products)
    if bessel == "asymptotic":
        return log_bessel_change(squared, change, dim / 2 - 1)
    if dim % 2:
        raise SettingError("bessel", f"asymptotic where the dimension is odd, as {dim} is", bessel, "asymptotic")
    moved = (squared + change).clamp(min=torch.finfo(rows.dtype).tiny).sqrt()
    return official_log_bessel(moved, dim // 2 - 1) - official_log_bessel(kappa, dim // 2 - 1)

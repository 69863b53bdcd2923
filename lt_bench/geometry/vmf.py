"""Von Mises-Fisher distributions of classes on the unit sphere, estimated from running means."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.errors import SettingError

KappaEstimator = Literal["code", "sra"]
UNSEEN_LENGTH = 0.9  # of the mean of a class before its first image: ProCo's authors' code
MAX_KAPPA = 1e5  # ProCo's authors' code


def random_means(num_classes: int, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Means of classes without images: random directions of length 0.9, (C, D) on the generator's device.

    Source: Du et al., TPAMI 2024, authors' code.  Deviation: none.
    """
    device = None if generator is None else generator.device
    directions = torch.randn(num_classes, dim, generator=generator, device=device)
    return UNSEEN_LENGTH * F.normalize(directions, dim=1)


@torch.no_grad()
def update_means(means: Tensor, counts: Tensor, features: Tensor, labels: Tensor) -> None:
    """Let a batch join the running means and counts, in place; the first features of a class replace its mean.

    Every set of statistics becomes the plain mean over its own count, whatever the order of batches.
    Shapes: means (S, C, D) and counts (S, C) of S sets, features (B, D), labels (B,).
    Source: Du et al., TPAMI 2024, authors' code.  Deviation: written so that absent classes cost nothing.
    """
    counts.index_add_(1, labels, torch.ones_like(counts[:, labels]))
    moves = (features.to(means.dtype) - means[:, labels]) / counts[:, labels, None]
    means.index_add_(1, labels, moves)


def mean_direction_and_kappa(means: Tensor, estimator: KappaEstimator = "code") -> tuple[Tensor, Tensor]:
    """Mean direction mu and concentration kappa of every class from the mean of its unit features, of length R.

    "code": kappa = D R / (1 - R^2); "sra": R (D - R^2) / (1 - R^2). Both at most 1e5, also where R is 1 or more.
    Shapes: means (C, D); returns mu (C, D) and kappa (C,). Raises SettingError for another estimator.
    Source: "code" Du et al., TPAMI 2024, authors' code; "sra" Banerjee et al., JMLR 2005.  Deviation: none.
    """
    if estimator not in ("code", "sra"):
        raise SettingError("estimator", "code or sra", estimator, "code")
    lengths = torch.linalg.vector_norm(means, dim=1)
    dim = means.shape[1] if estimator == "code" else means.shape[1] - lengths.square()
    room = ((1 - lengths) * (1 + lengths)).clamp(min=torch.finfo(means.dtype).tiny)
    kappa = (dim * lengths / room).clamp(max=MAX_KAPPA)
    return means / lengths.clamp(min=1e-12)[:, None], kappa

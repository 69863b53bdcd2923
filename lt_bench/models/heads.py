"""Heads on top of an encoder's features; a plain linear classifier is ``nn.Linear``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Linear - ReLU - Linear, then unit length.

    Source: Chen et al., ICML 2020, as used by SBCL (64, 64, 128; with MoCo 2048, 2048, 128).  Deviation: none.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, out_dim)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, in_dim) -> embeddings (B, out_dim) of unit length."""
        return F.normalize(self.layers(features), dim=1)


class NormalizedLinear(nn.Module):
    """Cosine classifier: ``scale`` times the cosine of a feature and a class's column of ``weight`` (in_dim, C).

    Columns start uniform in (-1, 1), scaled to unit length; gradients pass both normalisations.
    Source: Cao et al., NeurIPS 2019, authors' code.  Deviation: none.
    """

    def __init__(self, in_dim: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(F.normalize(torch.empty(in_dim, num_classes).uniform_(-1, 1), dim=0))

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, in_dim) -> logits (B, C) in [-scale, scale]."""
        return self.scale * (F.normalize(features, dim=1) @ F.normalize(self.weight, dim=0))

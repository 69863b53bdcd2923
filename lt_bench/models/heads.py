"""Heads on top of an encoder's features; a plain linear classifier is ``nn.Linear``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError


class ProjectionHead(nn.Module):
    """Linear - ReLU, ``hidden_layers`` times, then Linear, then unit length; ``layers`` is all but the last step.

    Source: Chen et al., ICML 2020. SBCL: 64, 64, 128 (with MoCo 2048, 2048, 128); BCL, ProCo and PaCo put a batch
    norm before the ReLU; GPaCo has two hidden layers without.  Deviation: none.
    Raises SettingError for a layer without outputs.
    """

    def __init__(
        self, in_dim: int, hidden_dim: int, out_dim: int, hidden_layers: int = 1, batch_norm: bool = False
    ) -> None:
        super().__init__()
        for name, value in (("hidden_dim", hidden_dim), ("out_dim", out_dim)):
            if value < 1:
                raise SettingError(name, "at least one output", value, 128)
        self.layers = nn.Sequential()
        width = in_dim
        for _ in range(hidden_layers):
            self.layers.append(nn.Linear(width, hidden_dim))
            if batch_norm:
                self.layers.append(nn.BatchNorm1d(hidden_dim))
            self.layers.append(nn.ReLU(inplace=True))
            width = hidden_dim
        self.layers.append(nn.Linear(width, out_dim))

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, in_dim) -> embeddings (B, out_dim) of unit length, in at least float32."""
        embeddings = self.layers(features)
        return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)


class SimCLRHead(nn.Sequential):
    """Linear - batch norm - ReLU, ``hidden_layers`` times, then linear - batch norm: (B, in_dim) -> (B, out_dim).

    The first linear layer alone has a bias; embeddings have any length.
    Source: the self-supervised long-tail literature (GH, boosted contrastive learning); the authors' code of SDCLR has
    two hidden layers.  Deviation: none.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, hidden_layers: int = 1) -> None:
        super().__init__()
        width = in_dim
        for number in range(hidden_layers):
            hidden = nn.Linear(width, hidden_dim, bias=number == 0)
            self.extend([hidden, nn.BatchNorm1d(hidden_dim), nn.ReLU(inplace=True)])
            width = hidden_dim
        self.extend([nn.Linear(width, out_dim, bias=False), nn.BatchNorm1d(out_dim)])


def linear(in_features: int, out_features: int, bias: bool) -> nn.Linear:
    """A plain linear classifier, as files of predictors name it."""
    return nn.Linear(in_features, out_features, bias)


class BiasedCosine(nn.Module):
    """``scale`` times the cosine of a feature and a class's row of ``weight`` (C, in_dim), and a learned ``bias`` (C,).

    Weights start uniform within 1 / sqrt(in_dim), biases at 0; gradients pass both normalisations.
    Source: Li et al., CVPR 2022 (NCL), authors' code.  Deviation: none.
    """

    def __init__(self, in_dim: int, num_classes: int, scale: float = 16.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, in_dim).uniform_(-(in_dim**-0.5), in_dim**-0.5))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        classes, width = self.weight.shape
        shape = {"in_dim": width, "num_classes": classes, "scale": self.scale}
        return {"_target_": "lt_bench.models.heads.BiasedCosine", **shape}

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, in_dim) -> logits (B, C) within scale of the bias."""
        return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1)) + self.bias


class NormalizedLinear(nn.Module):
    """Cosine classifier: ``scale`` times the cosine of a feature and a class's column of ``weight`` (in_dim, C).

    Columns start uniform in (-1, 1), scaled to unit length; gradients pass both normalisations.
    Source: Cao et al., NeurIPS 2019, authors' code.  Deviation: none.
    """

    def __init__(self, in_dim: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(F.normalize(torch.empty(in_dim, num_classes).uniform_(-1, 1), dim=0))

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        width, classes = self.weight.shape
        shape = {"in_dim": width, "num_classes": classes, "scale": self.scale}
        return {"_target_": "lt_bench.models.heads.NormalizedLinear", **shape}

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, in_dim) -> logits (B, C) in [-scale, scale]."""
        return self.scale * (F.normalize(features, dim=1) @ F.normalize(self.weight, dim=0))

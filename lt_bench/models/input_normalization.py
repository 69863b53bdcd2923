"""Normalisation of the colours as a network's first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class InputNormalization(nn.Module):
    """``encoder`` behind (image - mean) / std, channel by channel; ``feature_dim`` is the encoder's."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, encoder: nn.Module, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.feature_dim: int = encoder.feature_dim  # type: ignore[assignment]
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        colours = {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}
        return {
            "_target_": "lt_bench.models.input_normalization.InputNormalization",
            "encoder": self.encoder,
            **colours,
        }

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, feature_dim)."""
        features: Tensor = self.encoder((images - self.mean) / self.std)
        return features

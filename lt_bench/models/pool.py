"""Average pooling in front of an encoder, which makes a small budget smaller still."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.maps import spatial_maps


class InputPool(nn.Module):
    """``encoder`` behind k x k average pooling, k at least 2; ``feature_dim`` is the encoder's."""

    def __init__(self, k: int, encoder: nn.Module) -> None:
        super().__init__()
        if k < 2:
            raise SettingError("k", "at least 2, a square of 2 x 2 pixels", k, 2)
        self.k = k
        self.encoder = encoder
        self.feature_dim: int = encoder.feature_dim  # type: ignore[assignment]

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        return {"_target_": "lt_bench.models.pool.InputPool", "k": self.k, "encoder": self.encoder}

    def maps(self, images: Tensor) -> Tensor:
        """The encoder's maps before its pool, of an encoder that has them."""
        return spatial_maps(self.encoder, self._pooled(images))

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, feature_dim); ValueError unless k divides H and W."""
        features: Tensor = self.encoder(self._pooled(images))
        return features

    def _pooled(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if height % self.k or width % self.k:
            raise ValueError(f"input_pool={self.k} does not divide images of {height} x {width}")
        return F.avg_pool2d(images, self.k)


def build_encoder(encoder: nn.Module, input_pool: int) -> nn.Module:
    """``encoder`` itself for ``input_pool`` 1, else behind ``InputPool``; SettingError below 1."""
    if input_pool < 1:
        raise SettingError("input_pool", "at least 1", input_pool, 1)
    return encoder if input_pool == 1 else InputPool(input_pool, encoder)

"""What all crops share that cut one box out of every image and resize it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from lt_bench.augment.resample import Boxes, Interpolation, resample

Box = tuple[int, int, int, int]  # top, left, height, width


class BoxCrop(ABC):
    """A random box of every image, resized to (size, size) by ``interpolation``."""

    size: int
    interpolation: Interpolation

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Fresh parameters for ``count`` images of any size: a NamedTuple of tensors with one row per image."""

    @abstractmethod
    def boxes(self, params: Any, height: int, width: int) -> Boxes:
        """The boxes of images of one size; (B,) each."""

    @abstractmethod
    def box(self, params: Any, height: int, width: int) -> Box:
        """What ``boxes`` says of one image, without tensors: ``params`` are NumPy values of that image alone."""

    def grouped(self, images: Tensor, params: Any, flipped: Tensor | None = None) -> Tensor:
        """Crop, then mirror where flipped (B,); images (B, C, H, W), returns (B, C, size, size)."""
        return self._cut(images, params, flipped, gather=False)

    def branch_free(self, images: Tensor, params: Any, flipped: Tensor | None = None) -> Tensor:
        """Crop as ``grouped`` does, by gathering alone."""
        return self._cut(images, params, flipped, gather=True)

    def _cut(self, images: Tensor, params: Any, flipped: Tensor | None, gather: bool) -> Tensor:
        boxes = self.boxes(params, *images.shape[2:])
        return resample(images, boxes, self.size, flipped, gather, self.interpolation)


def place(unit: Tensor, spare: Tensor | int) -> Tensor:
    """Uniform whole number in 0..spare from a number in [0, 1), (B,); float32 rounding cannot reach spare + 1."""
    return (unit * (spare + 1)).floor()

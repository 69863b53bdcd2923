"""Crops and the horizontal flip."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from lt_bench.augment.resample import Boxes, resample
from lt_bench.augment.selection import change_rows, draw_applied, draw_uniform, per_image, require_probability

# torchvision's RandomResizedCrop gives up after ten tries and takes the centre
TRIES = 10

UNIT = (0.0, 1.0)


class ResizedCropParams(NamedTuple):
    """Shares of the image's area and width/height ratios to try in turn, (B, 10); place of the box in [0, 1), (B,)."""

    area: Tensor
    ratio: Tensor
    top: Tensor
    left: Tensor


class PaddedCropParams(NamedTuple):
    """Place of the crop among the possible ones, as numbers in [0, 1), (B,) each."""

    top: Tensor
    left: Tensor


class FlipParams(NamedTuple):
    """Whether each image is mirrored, (B,) bool."""

    applied: Tensor


CropParams = TypeVar("CropParams", ResizedCropParams, PaddedCropParams)


class Crop(ABC, Generic[CropParams]):
    """What the crops share: each says which box of each image is resized to (size, size)."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a crop expects a size of at least 1 pixel, found {size}; type e.g. size=32")
        self.size = size

    @abstractmethod
    def boxes(self, params: CropParams, height: int, width: int) -> Boxes:
        """The boxes in images of (height, width) pixels, (B,) each."""

    def grouped(self, images: Tensor, params: CropParams, flipped: Tensor | None = None) -> Tensor:
        """Crop by matrix products, then mirror where flipped (B,); images (B, C, H, W), returns (B, C, size, size)."""
        return resample(images, self.boxes(params, *images.shape[2:]), self.size, flipped)

    def branch_free(self, images: Tensor, params: CropParams, flipped: Tensor | None = None) -> Tensor:
        """Crop by gathering; same arguments and result as ``grouped``."""
        return resample(images, self.boxes(params, *images.shape[2:]), self.size, flipped, gather=True)


class RandomResizedCrop(Crop[ResizedCropParams]):
    """A box of random area and shape, resized by bilinear interpolation.

    ``scale`` bounds the share of the image's area, ``ratio`` width / height (log-uniform).
    Source: Szegedy et al., CVPR 2015, section 6; law and resampling of torchvision's RandomResizedCrop on tensors.
    """

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.2, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ) -> None:
        super().__init__(size)
        if not 0 < scale[0] <= scale[1] or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(
                f"RandomResizedCrop expects 0 < low <= high in scale and ratio, found scale {scale}, ratio {ratio}; "
                "type e.g. RandomResizedCrop(32, scale=(0.2, 1.0))"
            )
        self.scale, self.ratio = scale, ratio

    def draw(self, count: int, generator: torch.Generator) -> ResizedCropParams:
        """Ten candidate shapes and one place per image."""
        log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])
        return ResizedCropParams(
            area=draw_uniform((count, TRIES), self.scale, generator),
            ratio=draw_uniform((count, TRIES), log_ratio, generator).exp(),
            top=draw_uniform((count,), UNIT, generator),
            left=draw_uniform((count,), UNIT, generator),
        )

    def boxes(self, params: ResizedCropParams, height: int, width: int) -> Boxes:
        """The first candidate that fits, else the largest central box of legal ratio; (B,) each."""
        area = params.area * (height * width)
        widths, heights = (area * params.ratio).sqrt().round(), (area / params.ratio).sqrt().round()
        fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
        missing, first = ~fits.any(1), fits.byte().argmax(1, keepdim=True)
        central_height, central_width = self._central(height, width)
        box_height = heights.gather(1, first).squeeze(1).masked_fill(missing, central_height)
        box_width = widths.gather(1, first).squeeze(1).masked_fill(missing, central_width)
        return Boxes(
            top=_place(params.top, height - box_height).masked_fill(missing, (height - central_height) // 2),
            left=_place(params.left, width - box_width).masked_fill(missing, (width - central_width) // 2),
            height=box_height,
            width=box_width,
        )

    def _central(self, height: int, width: int) -> tuple[int, int]:
        if width / height < self.ratio[0]:
            return round(width / self.ratio[0]), width
        if width / height > self.ratio[1]:
            return height, round(height * self.ratio[1])
        return height, width


class CropWithPadding(Crop[PaddedCropParams]):
    """A (size, size) window at a random place of the image with ``padding`` zero pixels around it.

    Source: torchvision's RandomCrop(size, padding). Deviation: none.
    """

    def __init__(self, size: int, padding: int) -> None:
        super().__init__(size)
        if padding < 0:
            raise ValueError(f"CropWithPadding expects padding >= 0, found {padding}; type e.g. padding=4")
        self.padding = padding

    def draw(self, count: int, generator: torch.Generator) -> PaddedCropParams:
        """One place per image."""
        return PaddedCropParams(draw_uniform((count,), UNIT, generator), draw_uniform((count,), UNIT, generator))

    def boxes(self, params: PaddedCropParams, height: int, width: int) -> Boxes:
        """Windows that may reach ``padding`` pixels over each edge; ValueError if the padded image is too small."""
        spare_height, spare_width = height + 2 * self.padding - self.size, width + 2 * self.padding - self.size
        if spare_height < 0 or spare_width < 0:
            raise ValueError(
                f"a crop of {self.size} pixels expects images of at least {self.size - 2 * self.padding} pixels with "
                f"padding {self.padding}, found {height} x {width}; type a smaller size or a larger padding"
            )
        length = torch.full_like(params.top, self.size)
        return Boxes(
            top=_place(params.top, spare_height) - self.padding,
            left=_place(params.left, spare_width) - self.padding,
            height=length,
            width=length,
        )


class HorizontalFlip:
    """Mirror an image left to right with probability p. Source: torchvision's RandomHorizontalFlip."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = require_probability("HorizontalFlip", p)

    def draw(self, count: int, generator: torch.Generator) -> FlipParams:
        """Which of ``count`` images are mirrored."""
        return FlipParams(draw_applied(count, self.p, generator))

    def grouped(self, images: Tensor, params: FlipParams) -> Tensor:
        """Mirror the chosen images only; (B, C, H, W) to the same shape."""
        return change_rows(images, params.applied.nonzero().squeeze(1), lambda chosen: chosen.flip(3))

    def branch_free(self, images: Tensor, params: FlipParams) -> Tensor:
        """Mirror all images and choose; (B, C, H, W) to the same shape."""
        return torch.where(per_image(params.applied), images.flip(3), images)


def _place(unit: Tensor, spare: Tensor | int) -> Tensor:
    """Uniform whole number in 0..spare from a number in [0, 1), (B,); float32 rounding cannot reach spare + 1."""
    return (unit * (spare + 1)).floor()

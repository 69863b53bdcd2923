"""Crops and the horizontal flip."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lt_bench.augment.box_crop import Box, BoxCrop, place
from lt_bench.augment.resample import Boxes, Interpolation
from lt_bench.augment.selection import change_rows, draw_applied, draw_uniform, per_image, require_probability
from lt_bench.errors import SettingError

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


class RandomResizedCrop(BoxCrop):
    """A box of random area and shape, resized by bilinear or bicubic interpolation.

    ``scale`` bounds the share of the image's area, ``ratio`` width / height (log-uniform).
    Source: Szegedy et al., CVPR 2015, section 6; law and resampling of torchvision's RandomResizedCrop on tensors.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: Interpolation = "bilinear",
    ) -> None:
        if size < 1:
            raise SettingError("size", "at least 1", size, 32)
        for name, (low, high), usual in (("scale", scale, "[0.2,1.0]"), ("ratio", ratio, "[0.75,1.33]")):
            if not 0 < low <= high:
                raise SettingError(name, "a range with 0 < low <= high", [low, high], usual)
        self.size, self.scale, self.ratio, self.interpolation = size, scale, ratio, interpolation

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
        central_height, central_width = self.central(height, width)
        box_height = heights.gather(1, first).squeeze(1).masked_fill(missing, central_height)
        box_width = widths.gather(1, first).squeeze(1).masked_fill(missing, central_width)
        return Boxes(
            top=place(params.top, height - box_height).masked_fill(missing, (height - central_height) // 2),
            left=place(params.left, width - box_width).masked_fill(missing, (width - central_width) // 2),
            height=box_height,
            width=box_width,
        )

    def box(self, params: ResizedCropParams, height: int, width: int) -> Box:
        """What ``boxes`` says of one image, without tensors."""
        area, ratio = params.area * np.float32(height * width), params.ratio
        widths, heights = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
        if not fits.any():
            box_height, box_width = self.central(height, width)
            return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
        first = int(fits.argmax())
        box_height, box_width = int(heights[first]), int(widths[first])
        top = int(params.top * np.float32(height - box_height + 1))
        left = int(params.left * np.float32(width - box_width + 1))
        return top, left, box_height, box_width

    def central(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the largest central box of legal ratio."""
        if width / height < self.ratio[0]:
            return round(width / self.ratio[0]), width
        if width / height > self.ratio[1]:
            return height, round(height * self.ratio[1])
        return height, width


class CropWithPadding:
    """A (size, size) window at a random place of the image with ``padding`` zero pixels around it.

    Source: torchvision's RandomCrop(size, padding). Deviation: none.
    """

    def __init__(self, size: int, padding: int) -> None:
        if size < 1:
            raise SettingError("size", "at least 1", size, 32)
        if padding < 0:
            raise SettingError("padding", "0 or more", padding, 4)
        self.size, self.padding = size, padding

    def draw(self, count: int, generator: torch.Generator) -> PaddedCropParams:
        """One place per image."""
        return PaddedCropParams(draw_uniform((count,), UNIT, generator), draw_uniform((count,), UNIT, generator))

    def corners(self, params: PaddedCropParams, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Top and left of the window in the padded image, (B,) int64 each; ValueError if the image is too small."""
        spare_height, spare_width = height + 2 * self.padding - self.size, width + 2 * self.padding - self.size
        if spare_height < 0 or spare_width < 0:
            raise ValueError(
                f"a crop of {self.size} pixels expects images of at least {self.size - 2 * self.padding} pixels with "
                f"padding {self.padding}, found {height} x {width}; type a smaller size or a larger padding"
            )
        return place(params.top, spare_height).long(), place(params.left, spare_width).long()

    def grouped(self, images: Tensor, params: PaddedCropParams) -> Tensor:
        """Crop; images (B, C, H, W), returns (B, C, size, size)."""
        top, left = self.corners(params, *images.shape[2:])
        padded = F.pad(images, (self.padding,) * 4)
        count, channels, height, width = padded.shape
        values = padded.flatten()
        # a row of the result is a run of memory: pick all rows from the overlapping runs of this length
        runs = values.as_strided((len(values) - self.size + 1, self.size), (1, 1))
        planes = torch.arange(count * channels, device=images.device).view(count, channels, 1) * (height * width)
        rows = torch.arange(self.size, device=images.device) * width
        starts = planes + rows + (top * width + left)[:, None, None]
        return runs.index_select(0, starts.flatten()).view(count, channels, self.size, self.size)

    branch_free = grouped


class HorizontalFlip:
    """Mirror an image left to right with probability p. Source: torchvision's RandomHorizontalFlip."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = require_probability(p)

    def draw(self, count: int, generator: torch.Generator) -> FlipParams:
        """Which of ``count`` images are mirrored."""
        return FlipParams(draw_applied(count, self.p, generator))

    def grouped(self, images: Tensor, params: FlipParams) -> Tensor:
        """Mirror the chosen images only; (B, C, H, W) to the same shape."""
        return change_rows(images, params.applied.nonzero().squeeze(1), lambda chosen: chosen.flip(3))

    def branch_free(self, images: Tensor, params: FlipParams) -> Tensor:
        """Mirror all images and choose; (B, C, H, W) to the same shape."""
        return torch.where(per_image(params.applied), images.flip(3), images)

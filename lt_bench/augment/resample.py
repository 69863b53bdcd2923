"""Separable resampling of one box per image: rows are gathered, columns are gathered or multiplied by a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Filter(NamedTuple):
    """An interpolation filter: half its width in source lines, and its value at a distance below that."""

    support: int
    value: Callable[[Tensor], Tensor]


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2, as in Pillow."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, far)


Interpolation = Literal["bilinear", "bicubic"]
FILTERS = {"bilinear": Filter(1, lambda distance: 1 - distance), "bicubic": Filter(2, _cubic)}


class Boxes(NamedTuple):
    """One box per image in pixels, inside the image, each (B,) float32 holding whole numbers."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class _Axis(NamedTuple):
    """One direction: boxes by start and length (B,), output lines in reading order (B, S), number of source lines."""

    start: Tensor
    length: Tensor
    outputs: Tensor
    extent: int
    filter: Filter

    def stretch(self) -> Tensor:
        """Source lines per output line, (B, 1)."""
        return (self.length / self.outputs.shape[1])[:, None]

    def centers(self) -> Tensor:
        """Where each output line lies, in source lines from the start of its box, (B, S)."""
        return (self.outputs + 0.5) * self.stretch() - 0.5

    def weights(self, offsets: Tensor) -> Tensor:
        """Share of source lines in each output line; offsets from the box's start, (B, S, K) or (B, 1, K).

        Returns (B, S, K). The filter is stretched where the box is reduced (antialiasing). Lines outside the box have
        weight 0; the shares of an output line add up to 1.
        """
        scale = self.stretch().clamp(min=1)
        outside = (offsets < 0) | (offsets >= self.length[:, None, None])
        places = offsets.masked_fill(outside, torch.inf) / scale[:, :, None]
        distance = (places - (self.centers() / scale)[:, :, None]).abs_().clamp_(max=self.filter.support)
        shares = self.filter.value(distance)
        return shares.div_(shares.sum(2, keepdim=True))

    def matrix(self) -> Tensor:
        """Weights of all source lines, (B, S, extent)."""
        lines = torch.arange(self.extent, device=self.start.device)
        return self.weights(lines - self.start[:, None, None])

    def gather(self, images: Tensor) -> Tensor:
        """Weighted sum of the rows within the filter's reach; images (B, C, extent, W), returns (B, C, S, W)."""
        count, channels, extent, width = images.shape
        size = self.outputs.shape[1]
        reach = self.filter.support
        taps = torch.arange(math.ceil(2 * reach * max(1.0, extent / size)), device=images.device)
        first = (self.centers() - reach * self.stretch().clamp(min=1)).floor() + 1
        offsets = first[:, :, None] + taps
        lines = (offsets + self.start[:, None, None]).long().clamp(0, extent - 1)
        planes = torch.arange(count * channels, device=images.device).view(count, channels, 1) * extent
        rows = images.reshape(-1, width)
        terms = (
            rows.index_select(0, (planes + line[:, None]).flatten())
            .view(count, channels, size, width)
            .mul_(weight[:, None, :, None])
            for line, weight in zip(lines.unbind(2), self.weights(offsets).unbind(2), strict=True)
        )
        return reduce(Tensor.add_, terms)


def resample(
    images: Tensor,
    boxes: Boxes,
    size: int,
    flipped: Tensor | None = None,
    gather: bool = False,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Cut one box per image, resize it to (size, size) and mirror it where asked.

    Shapes: images (B, C, H, W) floats in [0, 1]; flipped (B,) bool or None; returns (B, C, size, size) in [0, 1].
    Pixels outside a box never contribute. ``gather`` reads columns as it reads rows, which a compiler fuses into one
    kernel; otherwise columns are a batched matrix product, which suits a CPU. Both are the same up to rounding.
    Source: half-pixel centres and antialiasing, as torchvision's resized_crop.
    """
    count, channels, height, width = images.shape
    down = torch.arange(size, device=images.device, dtype=images.dtype).expand(count, size)
    across = down if flipped is None else torch.where(flipped[:, None], size - 1 - down, down)
    kind = FILTERS[interpolation]
    rows = _Axis(boxes.top, boxes.height, down, height, kind)
    columns = _Axis(boxes.left, boxes.width, across, width, kind)
    short = rows.gather(images)
    if gather:
        out = columns.gather(short.transpose(2, 3)).transpose(2, 3)
    else:
        out = torch.bmm(short.flatten(1, 2), columns.matrix().transpose(1, 2)).view(count, channels, size, size)
    return out if interpolation == "bilinear" else out.clamp_(0, 1)  # only the cubic filter overshoots

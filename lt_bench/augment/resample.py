"""Separable resampling of one box per image, by two small matrices or by gathering the few lines that count."""

from __future__ import annotations

import math
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor


class Boxes(NamedTuple):
    """One box per image in pixels, each (B,) float32 holding whole numbers; a box may reach over the image's edge."""

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

    def stretch(self) -> Tensor:
        """Source lines per output line, (B, 1)."""
        return (self.length / self.outputs.shape[1])[:, None]

    def centers(self) -> Tensor:
        """Where each output line lies, in source lines from the start of its box, (B, S)."""
        return (self.outputs + 0.5) * self.stretch() - 0.5

    def weights(self, lines: Tensor) -> Tensor:
        """Share of source lines in each output line; lines (B, S, K), (B, 1, K) or (1, 1, K), returns (B, S, K).

        The filter is a triangle of half width one source line, more where the box is reduced (antialiasing). Lines
        outside the box or the image have weight 0; the shares of an output line add up to 1 unless all are outside.
        """
        start, end = self.start[:, None, None], (self.start + self.length)[:, None, None]
        inside = (lines >= start.clamp(min=0)) & (lines < end.clamp(max=self.extent))
        half_width = self.stretch().clamp(min=1)
        places = (lines - start).masked_fill(~inside, torch.inf) / half_width[:, :, None]
        distance = (places - (self.centers() / half_width)[:, :, None]).abs_().clamp_(max=1)
        shares = 1 - distance
        return shares.div_(shares.sum(2, keepdim=True).clamp_(min=torch.finfo(shares.dtype).tiny))

    def matrix(self) -> Tensor:
        """Weights of all source lines, (B, S, extent)."""
        return self.weights(torch.arange(self.extent, device=self.start.device)[None, None])

    def gather(self, images: Tensor, dim: int) -> Tensor:
        """Weighted sum of the source lines within the filter's reach, along ``dim`` of images (B, C, H, W)."""
        count, size = self.outputs.shape
        reach = max(1.0, self.extent / size)
        first = (self.centers() - self.stretch().clamp(min=1)).floor() + 1 + self.start[:, None]
        lines = first[:, :, None] + torch.arange(math.ceil(2 * reach), device=first.device)
        along = [count, 1, 1, 1]
        along[dim] = size
        shape = list(images.shape)
        shape[dim] = size
        indices = lines.long().clamp(0, self.extent - 1)
        taps = zip(indices.unbind(2), self.weights(lines).unbind(2), strict=True)
        return reduce(
            torch.add, (images.gather(dim, i.reshape(along).expand(shape)) * w.reshape(along) for i, w in taps)
        )


def resample(images: Tensor, boxes: Boxes, size: int, flipped: Tensor | None = None, gather: bool = False) -> Tensor:
    """Cut one box per image, resize it to (size, size) and mirror it where asked.

    Shapes: images (B, C, H, W) floats; flipped (B,) bool or None; returns (B, C, size, size). What a box covers outside
    the image is 0; pixels outside a box never contribute. ``gather`` reads the needed source lines only, which a
    compiler fuses into one kernel; otherwise two batched matrix products, which suit a CPU. Same up to rounding.
    Source: bilinear interpolation with half-pixel centres and antialiasing, as torchvision's resized_crop.
    """
    count, channels, height, width = images.shape
    down = torch.arange(size, device=images.device, dtype=images.dtype).expand(count, size)
    across = down if flipped is None else torch.where(flipped[:, None], size - 1 - down, down)
    rows, columns = _Axis(boxes.top, boxes.height, down, height), _Axis(boxes.left, boxes.width, across, width)
    if gather:
        return columns.gather(rows.gather(images, 2), 3)
    narrow = torch.bmm(images.flatten(1, 2), columns.matrix().transpose(1, 2)).view(-1, height, size)
    every_channel = rows.matrix()[:, None].expand(-1, channels, -1, -1).flatten(0, 1)
    return torch.bmm(every_channel, narrow).view(count, channels, size, size)

"""Cutout: a square hole at a random place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.selection import draw_uniform
from lt_bench.errors import SettingError


class CutoutParams(NamedTuple):
    """Centre of the hole as shares of the image's height and width, numbers in [0, 1), (B,) each."""

    row: Tensor
    column: Tensor


class Cutout:
    """One black square of ``length`` pixels per image, which the border may clip to a smaller one.

    The centre is uniform over all pixels; a square of even length reaches one pixel further up and left than down
    and right. Black is 0 before normalisation.
    Source: DeVries & Taylor, arXiv 1708.04552, section 3.2 and authors' code. Deviation: an odd length is cut as it
    is, where their code cuts one pixel less.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise SettingError("length", "at least one pixel", length, 16)
        self.length = length

    def draw(self, count: int, generator: torch.Generator) -> CutoutParams:
        """One centre per image."""
        unit = (0.0, 1.0)
        return CutoutParams(draw_uniform((count,), unit, generator), draw_uniform((count,), unit, generator))

    def grouped(self, images: Tensor, params: CutoutParams) -> Tensor:
        """Cut one hole per image; (B, C, H, W) to the same shape."""
        height, width = images.shape[2:]
        hole = self._cut(params.row, height)[:, :, None] & self._cut(params.column, width)[:, None, :]
        return images * ~hole[:, None]  # on a CPU faster than filling by a mask

    branch_free = grouped

    def _cut(self, center: Tensor, size: int) -> Tensor:
        """Which of ``size`` lines the hole covers, (B, size) bool; float32 rounding cannot reach line ``size``."""
        start = (center * size).floor() - self.length // 2
        return lines_between(start, start + (self.length - 1), size)


def lines_between(first: Tensor, last: Tensor, size: int) -> Tensor:
    """Which of ``size`` lines lie between two lines, themselves included; (...,) each -> (..., size) bool."""
    lines = torch.arange(size, device=first.device)
    return (lines >= first[..., None]) & (lines <= last[..., None])

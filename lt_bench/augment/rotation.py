"""Rotation by a random angle."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.affine import NEAREST, affine_maps, warp
from lt_bench.augment.photometric import WHITE
from lt_bench.augment.selection import draw_uniform
from lt_bench.errors import SettingError


class RotationParams(NamedTuple):
    """Degrees counter-clockwise, (B,)."""

    angle: Tensor


class Rotation:
    """Every image turned around its centre by up to ``degrees`` in either direction, on 8 bits, black outside.

    Angles are uniform, each pixel is the nearest one. Black is 0 before normalisation.
    Source: torchvision's RandomRotation on images of the Python Imaging Library, as in the authors' code of RIDE.
    Deviation: none. Raises SettingError for values out of range.
    """

    def __init__(self, degrees: float) -> None:
        if not 0 <= degrees <= 180:
            raise SettingError("degrees", "from 0 to 180", degrees, 15)
        self.degrees = degrees

    def draw(self, count: int, generator: torch.Generator) -> RotationParams:
        """One angle per image."""
        return RotationParams(draw_uniform((count,), (-self.degrees, self.degrees), generator))

    def grouped(self, images: Tensor, params: RotationParams) -> Tensor:
        """Turn every image; (B, 3, H, W) in [0, 1] to the same shape."""
        angle = params.angle.double()
        still = torch.zeros_like(angle)
        maps = affine_maps(angle, (still, still), (still, still), (images.shape[2], images.shape[3]))
        levels = (images * WHITE).round_()
        return warp(levels, maps, NEAREST, levels.new_zeros(3)).div_(WHITE)

    branch_free = grouped

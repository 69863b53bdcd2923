"""Square crops whose smallest size grows while a network is trained."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from lt_bench.augment.box_crop import Box, BoxCrop, place
from lt_bench.augment.resample import Boxes, Interpolation
from lt_bench.augment.selection import draw_uniform
from lt_bench.errors import SettingError

Growth = Literal["none", "convex", "linear", "concave"]
GROWN = {
    "none": lambda done: 0.0,
    "convex": lambda done: 1 - math.sqrt(1 - done**2),
    "linear": lambda done: done,
    "concave": lambda done: math.sqrt(1 - (1 - done) ** 2),
}
UNIT = (0.0, 1.0)


class SquareCropParams(NamedTuple):
    """Where a crop's share of the area lies between the least and the largest, its place: in [0, 1), (B,) each."""

    area: Tensor
    top: Tensor
    left: Tensor


class SquareCrop(BoxCrop):
    """A square of random area at a random place, resized.

    ``scale`` bounds the share of the image's area, as far as a square in the image can have it; the lower bound grows
    to the upper one with the part of the training that is ``done``, in [0, 1], as ``growth`` says.
    Source: LIFT+ (arXiv 2504.13282), authors' code.  Deviation: training of one epoch, where that fails, is done.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        growth: Growth = "none",
        interpolation: Interpolation = "bilinear",
        done: float = 0.0,
    ) -> None:
        if size < 1:
            raise SettingError("size", "at least 1", size, 32)
        low, high = scale
        if not 0 < low <= high <= 1:
            raise SettingError("scale", "a range with 0 < low <= high <= 1", [low, high], "[0.08,1.0]")
        if growth not in GROWN:
            raise SettingError("growth", f"one of {', '.join(get_args(Growth))}", growth, "convex")
        self.size, self.interpolation = size, interpolation
        self.scale = low + (high - low) * GROWN[growth](done), high

    def draw(self, count: int, generator: torch.Generator) -> SquareCropParams:
        """One size and one place per image."""
        return SquareCropParams(*(draw_uniform((count,), UNIT, generator) for _ in SquareCropParams._fields))

    def shares(self, height: int, width: int) -> tuple[float, float]:
        """The least and the largest share of the area of a square in such an image."""
        square = min(height, width) / max(height, width)
        return min(self.scale[0], square), min(self.scale[1], square)

    def boxes(self, params: SquareCropParams, height: int, width: int) -> Boxes:
        """Squares of images of one size; (B,) each."""
        low, high = self.shares(height, width)
        side = ((low + params.area * (high - low)) * (height * width)).sqrt().round().clamp(min=1)
        return Boxes(place(params.top, height - side), place(params.left, width - side), side, side)

    def box(self, params: SquareCropParams, height: int, width: int) -> Box:
        """What ``boxes`` says of one image, without tensors."""
        low, high = map(np.float32, self.shares(height, width))
        area, top, left = map(np.float32, params)
        share = np.float32(low) + area * np.float32(high - low)
        side = max(1, int(np.rint(np.sqrt(share * np.float32(height * width)))))
        places = (int(unit * np.float32(spare - side + 1)) for unit, spare in ((top, height), (left, width)))
        return *places, side, side  # type: ignore[return-value]

"""What a worker process does to one decoded image: cut a box, resize it, mirror it, all on bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lt_bench.augment.box_crop import Box, BoxCrop
from lt_bench.augment.crop import HorizontalFlip
from lt_bench.augment.pipeline import Pipeline
from lt_bench.augment.resample import Interpolation
from lt_bench.errors import UsageError

Pixels = NDArray[np.uint8]  # (H, W, 3)


class RandomCrops(NamedTuple):
    """Random resized crops, one per image: what an operation drew, with one row per image, and flips (B,)."""

    operation: BoxCrop
    params: Any  # the operation's NamedTuple, of NumPy arrays
    flipped: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Height and width of what is cut."""
        return self.operation.size

    def take(self, rows: slice) -> RandomCrops:
        """The crops of some of the images."""
        return RandomCrops(self.operation, self._of(rows), self.flipped[rows])

    def box(self, number: int, height: int, width: int) -> Box:
        """The box of the image with that number: what ``BoxCrop.boxes`` says, without tensors."""
        return self.operation.box(self._of(number), height, width)

    def _of(self, rows: slice | int) -> Any:
        return type(self.params)(*(values[rows] for values in self.params))

    def cut(self, pixels: Pixels, number: int) -> Tensor:
        """The crop of an image, (size, size, 3) uint8."""
        box = self.box(number, *pixels.shape[:2])
        crop = resized(pixels, box, self.size, self.size, self.operation.interpolation)
        return crop.flip(1) if self.flipped[number] else crop


class CentralCrops(NamedTuple):
    """The middle of every image, after its short side has been resized to ``size / share``."""

    size: int
    share: float
    interpolation: Interpolation = "bilinear"

    @property
    def short_side(self) -> int:
        """The pixels of the short side that the middle is cut from."""
        return round(self.size / self.share)

    def take(self, rows: slice) -> CentralCrops:
        """The same for all images."""
        return self

    def cut(self, pixels: Pixels, number: int) -> Tensor:
        """The middle of an image, (size, size, 3) uint8."""
        height, width = pixels.shape[:2]
        new_height, new_width = (int(self.short_side * side / min(height, width)) for side in (height, width))
        whole = resized(pixels, (0, 0, height, width), new_height, new_width, self.interpolation)
        top, left = round((new_height - self.size) / 2), round((new_width - self.size) / 2)
        return whole[top : top + self.size, left : left + self.size]


Crops = RandomCrops | CentralCrops


def resized(pixels: Pixels, box: Box, height: int, width: int, interpolation: Interpolation) -> Tensor:
    """A box of an image, resized with antialiasing, (height, width, 3) uint8; pixels outside never contribute.

    Source: Pillow's crop and resize, which it equals up to one level.
    """
    top, left, box_height, box_width = box
    cut = torch.from_numpy(pixels[top : top + box_height, left : left + box_width].copy())
    if (box_height, box_width) == (height, width):
        return cut
    planes = cut.permute(2, 0, 1)[None]  # channels_last, for which there is a vectorised kernel on bytes
    return F.interpolate(planes, (height, width), mode=interpolation, antialias=True)[0].permute(1, 2, 0)


class SplitView:
    """A view in two parts: the crop and flip that begin it, made of a file by a worker, and the rest, on the device.

    A view without operations is the evaluation's: the ``middle`` of the image, normalised. Raises UsageError for a view
    that begins with anything but a resized crop.
    """

    def __init__(self, name: str, view: Pipeline, middle: CentralCrops) -> None:
        crop, *others = view.ops or (None,)
        if crop is not None and not isinstance(crop, BoxCrop):
            raise UsageError(
                f"the view {name} of large images has to begin with a random resized crop; set "
                "dataset.crop_padding=null, or begin its list of operations with resized_crop or square_crop"
            )
        flip = others.pop(0) if others and isinstance(others[0], HorizontalFlip) else None
        self.crop, self.flip, self.middle = crop, flip, middle
        self.on_device = Pipeline(others, view.mean, view.std)

    def draw(self, count: int, generator: torch.Generator) -> Crops:
        """Fresh crops of ``count`` images, from a generator on the CPU."""
        if self.crop is None:
            return self.middle
        boxes = self.crop.draw(count, generator)
        flipped = torch.zeros(count, dtype=torch.bool)
        if self.flip is not None:
            flipped = self.flip.draw(count, generator).applied
        arrays = type(boxes)(*(values.numpy() for values in boxes))
        return RandomCrops(self.crop, arrays, flipped.numpy())

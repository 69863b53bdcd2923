"""What a worker process does to one decoded image: cut a box, resize it, mirror it, all on bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from lt_bench.config.evaluation import VIEWS
from lt_bench.data.files.decoders import Size
from lt_bench.errors import UsageError

Pixels = NDArray[np.uint8]  # (H, W, 3)
LEFT = 2


class RandomCrops(NamedTuple):
    """Random resized crops, one per image: what an operation drew, with one row per image, and flips (B,)."""

    operation: BoxCrop
    params: Any  # the operation's NamedTuple, of NumPy arrays
    flipped: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is cut of an image, without the colours."""
        return self.operation.size, self.operation.size

    def take(self, rows: slice) -> RandomCrops:
        """The crops of some of the images."""
        return RandomCrops(self.operation, self._of(rows), self.flipped[rows])

    def box(self, number: int, height: int, width: int) -> Box:
        """The box of the image with that number: what ``BoxCrop.boxes`` says, without tensors."""
        return self.operation.box(self._of(number), height, width)

    def _of(self, rows: slice | int) -> Any:
        return type(self.params)(*(values[rows] for values in self.params))

    def reduction(self, number: int, height: int, width: int) -> int:
        """By how much an image may be reduced before: twice the pixels that a crop needs are left of it.

        Source: what Pillow's ``thumbnail`` leaves (``reducing_gap``).
        """
        least = LEFT * self.operation.size
        if min(height, width) < 2 * least:
            return 1
        return min(self.box(number, height, width)[2:]) // least

    def cut(self, pixels: Pixels, number: int, full: Size | None = None) -> Tensor:
        """The crop of an image, (size, size, 3) uint8; ``full`` is the size of what ``pixels`` are reduced from."""
        box = reduced_box(self.box(number, *(full or pixels.shape[:2])), pixels.shape[:2], full)
        size = self.operation.size
        crop = resized(pixels, box, size, size, self.operation.interpolation)
        return crop.flip(1) if self.flipped[number] else crop


class CentralCrops(NamedTuple):
    """The middle of every image, after its short side has been resized to ``size / share``."""

    size: int
    share: float
    interpolation: Interpolation = "bilinear"

    @property
    def middle(self) -> CentralCrops:
        """Itself, as ``SeveralCrops`` have one."""
        return self

    @property
    def views(self) -> str:
        """The word for it, see ``config.evaluation``."""
        return VIEWS[0]

    @property
    def short_side(self) -> int:
        """The pixels of the short side that the middle is cut from."""
        return round(self.size / self.share)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is cut of an image, without the colours."""
        return self.size, self.size

    def take(self, rows: slice) -> CentralCrops:
        """The same for all images."""
        return self

    def whole(self, pixels: Pixels) -> Tensor:
        """An image with its short side resized, (H, W, 3) uint8."""
        height, width = pixels.shape[:2]
        new_height, new_width = (int(self.short_side * side / min(height, width)) for side in (height, width))
        return resized(pixels, (0, 0, height, width), new_height, new_width, self.interpolation)

    def at(self, whole: Tensor, top: float, left: float) -> Tensor:
        """A crop (size, size, 3) of a resized image: by how much of what it leaves over lies above and left of it."""
        first, then = (round(part * (side - self.size)) for part, side in zip((top, left), whole.shape, strict=False))
        return whole[first : first + self.size, then : then + self.size]

    def reduction(self, number: int, height: int, width: int) -> int:
        """What is evaluated is never reduced."""
        return 1

    def cut(self, pixels: Pixels, number: int, full: Size | None = None) -> Tensor:
        """The middle of an image, (size, size, 3) uint8."""
        return self.at(self.whole(pixels), *MIDDLE)


MIDDLE = (0.5, 0.5)
FIVE = ((0, 0), (0, 1), (1, 0), (1, 1), MIDDLE)  # top left, top right, bottom left, bottom right, middle


class SeveralCrops(NamedTuple):
    """The corners and the middle of every image, and where the ``views`` are ten those of its mirror image too.

    ``middle`` says how images are resized, and the size of the crops.
    Source: Shi et al., ICML 2024 (LIFT), authors' code; torchvision's FiveCrop and TenCrop.  Deviation: none.
    """

    middle: CentralCrops
    views: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is cut of an image, without the colours: (crops, size, size)."""
        return len(FIVE) * (1 + (self.views == "ten")), *self.middle.shape

    def take(self, rows: slice) -> SeveralCrops:
        """The same for all images."""
        return self

    def reduction(self, number: int, height: int, width: int) -> int:
        """What is evaluated is never reduced."""
        return 1

    def cut(self, pixels: Pixels, number: int, full: Size | None = None) -> Tensor:
        """The crops of an image, (crops, size, size, 3) uint8."""
        whole = self.middle.whole(pixels)
        sides = (whole, whole.flip(1)) if self.views == "ten" else (whole,)
        return torch.stack([self.middle.at(side, *place) for side in sides for place in FIVE])


PlainCrops = CentralCrops | SeveralCrops  # what the evaluation cuts
Crops = RandomCrops | PlainCrops


def plain_crops(size: int, share: float, interpolation: Interpolation, views: str) -> PlainCrops:
    """The crops of an image that is evaluated, by a word of ``config.evaluation.VIEWS``."""
    middle = CentralCrops(size, share, interpolation)
    return middle if views == middle.views else SeveralCrops(middle, views)


def images_at_once(crops: Crops, most: int) -> int:
    """How many images have ``most`` crops together at most; 1 or more."""
    return max(1, most // math.prod(crops.shape[:-2]))


def reduced_box(box: Box, shape: Sequence[int], full: Size | None) -> Box:
    """A box of an image of size ``full`` in one that was reduced to a shape, to the nearest whole pixels."""
    if full is None or tuple(shape) == full:
        return box
    down, right = shape[0] / full[0], shape[1] / full[1]
    top, left, bottom, end = (
        round(side) for side in (box[0] * down, box[1] * right, (box[0] + box[2]) * down, (box[1] + box[3]) * right)
    )
    return top, left, bottom - top, end - left


def resized(pixels: Pixels, box: Box, height: int, width: int, interpolation: Interpolation) -> Tensor:
    """A box of an image, resized with antialiasing, (height, width, 3) uint8; pixels outside never contribute.

    Source: Pillow's crop and resize, which it equals up to one level.
    """
    top, left, box_height, box_width = box
    cut = torch.from_numpy(pixels[top : top + box_height, left : left + box_width].copy())
    if (box_height, box_width) == (height, width):
        return cut
    # channels_last, for which there is a vectorised kernel on bytes; the result is that only where a batch is one first
    planes = cut[None].permute(0, 3, 1, 2)
    return F.interpolate(planes, (height, width), mode=interpolation, antialias=True)[0].permute(1, 2, 0)


class SplitView:
    """A view in two parts: the crop and flip that begin it, made of a file by a worker, and the rest, on the device.

    A view without operations has the ``plain`` crops, the middle of the image or several, normalised. Raises
    UsageError for a view that begins with anything but a resized crop.
    """

    def __init__(self, name: str, view: Pipeline, plain: PlainCrops) -> None:
        crop, *others = view.ops or (None,)
        if crop is not None and not isinstance(crop, BoxCrop):
            raise UsageError(
                f"the view {name} of large images has to begin with a random resized crop; set "
                "dataset.crop_padding=null, or begin its list of operations with resized_crop or square_crop"
            )
        flip = others.pop(0) if others and isinstance(others[0], HorizontalFlip) else None
        self.crop, self.flip, self.plain = crop, flip, plain
        self.on_device = Pipeline(others, view.mean, view.std)

    def draw(self, count: int, generator: torch.Generator) -> Crops:
        """Fresh crops of ``count`` images, from a generator on the CPU."""
        if self.crop is None:
            return self.plain
        boxes = self.crop.draw(count, generator)
        flipped = torch.zeros(count, dtype=torch.bool)
        if self.flip is not None:
            flipped = self.flip.draw(count, generator).applied
        arrays = type(boxes)(*(values.numpy() for values in boxes))
        return RandomCrops(self.crop, arrays, flipped.numpy())

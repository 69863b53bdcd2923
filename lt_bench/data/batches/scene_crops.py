"""What a worker does to a scene: resize, cut and mirror the image and its mask together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lt_bench.models.masks import NO_LABEL

CHECKS, MOST = 10, 0.75  # places that are looked at, and the largest share of one class in a crop
ASPECT = 4  # the longest side that fits, as a multiple of the short one: 2048 for 512
SCALES = (0.5, 2.0)
Pixels = NDArray[np.uint8]


class SceneCut(NamedTuple):
    """A cut scene: image (S, S, 3), mask (S, S) with no label beside the scene, height and width of the scene (2,)."""

    image: Tensor
    mask: Tensor
    inside: Tensor


class SceneCrops(NamedTuple):
    """Random crops, one per scene: scales (B,), places (B, 11, 2) in [0, 1), and whether they are mirrored (B,).

    Source: MMSegmentation's Resize, RandomCrop and RandomFlip.  Deviation: none but in the random numbers.
    """

    size: int
    scale: NDArray[np.float32]
    places: NDArray[np.float32]
    flipped: NDArray[np.bool_]

    @classmethod
    def draw(cls, size: int, flip: bool, count: int, generator: torch.Generator) -> SceneCrops:
        """Crops of ``count`` scenes, from a generator on the CPU."""
        scale = torch.empty(count).uniform_(*SCALES, generator=generator)
        places = torch.rand((count, CHECKS + 1, 2), generator=generator)
        flipped = torch.rand(count, generator=generator) < (0.5 if flip else 0.0)
        return cls(size, scale.numpy(), places.numpy(), flipped.numpy())

    def take(self, rows: slice) -> SceneCrops:
        """The crops of some of the scenes."""
        return self._replace(scale=self.scale[rows], places=self.places[rows], flipped=self.flipped[rows])

    def cut(self, pixels: Pixels, mask: Pixels, number: int) -> SceneCut:
        """The crop of the scene with that number, smaller ones at the top left of it."""
        height, width = fitted(mask.shape, self.size, float(self.scale[number]))
        mask = nearest(mask, height, width)
        top, left = self._place(mask, number)
        part = slice(top, top + self.size), slice(left, left + self.size)
        image, kept = resized(pixels, height, width)[part], torch.from_numpy(mask[part].copy())
        if self.flipped[number]:
            image, kept = image.flip(1), kept.flip(1)
        right, below = self.size - kept.shape[1], self.size - kept.shape[0]
        padded = F.pad(image, (0, 0, 0, right, 0, below))
        return SceneCut(padded, F.pad(kept, (0, right, 0, below), value=NO_LABEL), torch.tensor(kept.shape))

    def _place(self, mask: Pixels, number: int) -> tuple[int, int]:
        """The first place whose crop has several classes and none that fills it; after ten the eleventh."""
        top = left = 0
        for check, (down, right) in enumerate(self.places[number]):
            top = int(down * (max(0, mask.shape[0] - self.size) + 1))
            left = int(right * (max(0, mask.shape[1] - self.size) + 1))
            counts = np.bincount(mask[top : top + self.size, left : left + self.size].ravel(), minlength=256)[:NO_LABEL]
            if check == CHECKS or ((counts > 0).sum() > 1 and counts.max() < MOST * counts.sum()):
                break
        return top, left


def fitted(shape: tuple[int, ...], size: int, scale: float = 1.0) -> tuple[int, int]:
    """The largest height and width of this shape within a short side and four times as much of a long one."""
    height, width = shape
    short, long = int(size * scale), int(ASPECT * size * scale)
    factor = min(long / max(height, width), short / min(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def nearest(mask: Pixels, height: int, width: int) -> Pixels:
    """A mask at another size, of whose pixels each is one of the mask."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), mask.shape, strict=True))
    return mask[rows[:, None], columns]


def resized(pixels: Pixels, height: int, width: int) -> Tensor:
    """An image at another size, bilinear without antialiasing, (height, width, 3) uint8."""
    planes = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    if pixels.shape[:2] == (height, width):
        return planes[0].permute(1, 2, 0)
    return F.interpolate(planes, (height, width), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)

"""RandAugment whose strength is the image's own, as boosted contrastive learning uses it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.affine import NEAREST
from lt_bench.augment.cutout import lines_between
from lt_bench.augment.operations import Operation, Step, apply_branch_free, apply_grouped, constant, steps_of
from lt_bench.augment.photometric import WHITE
from lt_bench.augment.selection import change_rows, draw_uniform
from lt_bench.config.settings import MOST_OPERATIONS
from lt_bench.errors import SettingError, UsageError

# none of the operations that all policies share, and as one of those it changes nothing
CUTOUT = int(Operation.IDENTITY)
# operation, value at strength 0 and at 30, whether it is cut to a whole number, whether it has a random sign
TABLE = (
    (Operation.SHEAR_X, 0, 0.6, False, True),
    (Operation.SHEAR_Y, 0, 0.6, False, True),
    (Operation.TRANSLATE_X, 0, 0.66, False, True),
    (Operation.TRANSLATE_Y, 0, 0.66, False, True),
    (Operation.ROTATE, 0, 60, False, True),
    (Operation.AUTO_CONTRAST, 0, 1, False, False),
    (Operation.INVERT, 0, 1, False, False),
    (Operation.EQUALIZE, 0, 1, False, False),
    (Operation.SOLARIZE, 0, 110, False, False),
    (Operation.POSTERIZE, 4, 8, True, False),
    (Operation.CONTRAST, 0.1, 1.9, False, False),
    (Operation.COLOR, 0.1, 1.9, False, False),
    (Operation.BRIGHTNESS, 0.1, 1.9, False, False),
    (Operation.SHARPNESS, 0.1, 1.9, False, False),
    (CUTOUT, 0, 0.4, False, False),
)
ROWS = [[float(entry) for entry in row] for row in TABLE]
LARGEST = 30.0  # the strength at which an operation has its last value
BLACK = (0, 0, 0)
HOLE = (125, 123, 114)


class Boost(NamedTuple):
    """How strongly images are augmented: weight w in [0, 1] and this access's uniform number u in [0, 1), (B,) each."""

    weight: Tensor
    uniform: Tensor


class BoostedParams(NamedTuple):
    """Rows of the table in order, (B, k) int64, and the strength of each image, of 30, (B,) float64.

    ``applied`` and ``negative`` (B, k) bool; ``center`` (B, k, 2): of a cutout, as shares of height and width.
    """

    row: Tensor
    strength: Tensor
    applied: Tensor
    negative: Tensor
    center: Tensor


class BoostedRandAugment:
    """``k`` operations per image out of 15, with replacement, each applied with the image's weight w as probability.

    The strength is floor + (max_strength - floor) w, times u in the second term where ``random``. Moved pixels are the
    nearest, uncovered ones black. An image with anything to do but cutouts is first rounded to 8 bits, and every
    operation gives whole levels, as the Python Imaging Library has it.
    Source: Zhou et al., ICML 2022 (boosted contrastive learning), authors' code: floor 10, not random, for k = 1;
    floor 5, random, for k = 2; floor 0, random, k = 2 on large images (Zhou et al., NeurIPS 2023, authors' code).
    Deviation: none.
    """

    def __init__(self, k: int, floor: float, random: bool, max_strength: float = LARGEST) -> None:
        if k < 1:
            raise SettingError("k", "at least 1", k, 1)
        if k > MOST_OPERATIONS:
            raise SettingError("k", f"at most {MOST_OPERATIONS}", k, 1)
        if not max_strength <= LARGEST:
            raise SettingError("max_strength", f"at most {LARGEST:g}", max_strength, f"{LARGEST:g}")
        if not 0 <= floor <= max_strength:
            raise SettingError("floor", f"from 0 to max_strength={max_strength:g}", floor, 10)
        self.k, self.floor, self.random, self.max_strength = k, floor, random, max_strength

    def draw(self, count: int, generator: torch.Generator, boost: Boost | None = None) -> BoostedParams:
        """Operations of ``count`` images, and which of them are applied how strongly; UsageError without a boost."""
        if boost is None:
            raise UsageError(
                "boosted RandAugment needs a strength for every image, which nothing gives here; boosted views belong "
                "to methods that boost; choose the view of the same name without boosted, of boosted itself: ssl"
            )
        row = torch.randint(len(TABLE), (count, self.k), generator=generator, device=generator.device)
        coin, sign, center_y, center_x = draw_uniform((4, count, self.k), (0.0, 1.0), generator).unbind()
        center = torch.stack([center_y, center_x], dim=2)
        return BoostedParams(row, self.strength(boost), coin < boost.weight[:, None], sign > 0.5, center)

    def strength(self, boost: Boost) -> Tensor:
        """Strength of each image, of 30, (B,) float64."""
        share = boost.weight.double()
        if self.random:
            share = share * boost.uniform
        return self.floor + (self.max_strength - self.floor) * share

    def steps(self, params: BoostedParams) -> list[Step]:
        """The first to the last operation of every image, cutouts left out."""
        operation, low, high, whole, signed = self._entries(params)
        value = low + params.strength[:, None] / LARGEST * (high - low)
        value = torch.where(whole > 0, value.floor(), value) * (1 - 2 * signed * params.negative)
        return steps_of(operation.long() * params.applied, value, torch.full_like(params.row, NEAREST))

    def holes(self, params: BoostedParams, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Which pixels of images of a size (H, W) the first to the last operation cuts out, (B, H, W) bool each.

        The side is a share of the width; both edges are inside; the border clips.
        """
        operation, low, high, _, _ = self._entries(params)
        side = (low + params.strength[:, None] / LARGEST * (high - low)) * size[1]

        def covered(axis: int) -> Tensor:
            first = (params.center[:, :, axis] * size[axis] - side / 2).clamp(min=0).floor()
            return lines_between(first, (first + side).floor(), size[axis])

        cut = params.applied & (operation == CUTOUT)
        return (covered(0)[..., None] & covered(1)[..., None, :] & cut[..., None, None]).unbind(1)

    def grouped(self, images: Tensor, params: BoostedParams) -> Tensor:
        """Apply, operation by operation on the images concerned; (B, 3, H, W) to the same shape."""
        for step, hole in self._turns(images, params):
            rows = hole.flatten(1).any(1).nonzero().squeeze(1)
            paint = partial(_paint, hole=hole[rows])
            images = change_rows(apply_grouped(images, [step], BLACK), rows, paint)
        return images

    def branch_free(self, images: Tensor, params: BoostedParams) -> Tensor:
        """Apply all operations to all images and choose; (B, 3, H, W) to the same shape."""
        for step, hole in self._turns(images, params):
            images = _paint(apply_branch_free(images, [step], BLACK, (NEAREST,)), hole)
        return images

    def _turns(self, images: Tensor, params: BoostedParams) -> Iterator[tuple[Step, Tensor]]:
        height, width = images.shape[2:]
        return zip(self.steps(params), self.holes(params, (height, width)), strict=True)

    def _entries(self, params: BoostedParams) -> tuple[Tensor, ...]:
        """The columns of the table for every operation, (B, k) float64 each."""
        return constant(ROWS, params.row.device)[params.row].unbind(2)


def _paint(images: Tensor, hole: Tensor) -> Tensor:
    """Images (K, 3, H, W) in [0, 1] with the colour of a cutout at the pixels of ``hole`` (K, H, W)."""
    color = constant(HOLE, images.device).div(WHITE).to(images.dtype)
    return torch.where(hole[:, None], color[:, None, None], images)

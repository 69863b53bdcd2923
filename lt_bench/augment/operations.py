"""The operations that AutoAugment and RandAugment choose from, on a batch where every image has its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lt_bench.augment import photometric
from lt_bench.augment.affine import affine_maps, warp
from lt_bench.augment.selection import change_rows, per_image, take

Color = tuple[int, int, int]


class Operation(IntEnum):
    """Numbers of the operations."""

    IDENTITY = 0
    AUTO_CONTRAST = 1
    EQUALIZE = 2
    INVERT = 3
    POSTERIZE = 4
    SOLARIZE = 5
    SOLARIZE_ADD = 6
    BRIGHTNESS = 7
    CONTRAST = 8
    COLOR = 9
    SHARPNESS = 10
    ROTATE = 11
    SHEAR_X = 12
    SHEAR_Y = 13
    TRANSLATE_X = 14
    TRANSLATE_Y = 15


# operations from FIRST_MOVING on move pixels; plain numbers, as torch.compile knows no enumerations
FIRST_MOVING, COUNT = int(Operation.ROTATE), len(Operation)

TABLES: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    Operation.AUTO_CONTRAST: photometric.auto_contrast,
    Operation.EQUALIZE: photometric.equalize,
    Operation.INVERT: photometric.invert,
    Operation.POSTERIZE: photometric.posterize,
    Operation.SOLARIZE: photometric.solarize,
    Operation.SOLARIZE_ADD: photometric.solarize_add,
    Operation.BRIGHTNESS: photometric.brightness,
    Operation.CONTRAST: photometric.contrast,
}
BLENDS: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    Operation.COLOR: photometric.color,
    Operation.SHARPNESS: photometric.sharpness,
}


class Step(NamedTuple):
    """One operation per image: its number, (B,) int64; its strength, (B,) float64; its resampling, (B,) int64.

    Strengths are degrees (ROTATE), slopes (shears), shares of width or height (translations), bits (POSTERIZE), levels
    (SOLARIZE, SOLARIZE_ADD) and factors (BRIGHTNESS to SHARPNESS); the others have none. The resampling is one of those
    of ``affine`` and counts for operations that move pixels.
    """

    operation: Tensor
    strength: Tensor
    resampling: Tensor


def steps_of(operation: Tensor, strength: Tensor, resampling: Tensor) -> list[Step]:
    """One step per column; (B, N) each."""
    return [
        Step(*columns) for columns in zip(operation.unbind(1), strength.unbind(1), resampling.unbind(1), strict=True)
    ]


def constant(numbers: Sequence[Any], device: torch.device) -> Tensor:
    """Nested numbers as a float64 tensor; the host does not wait for the device to take them."""
    return torch.tensor(numbers, dtype=torch.float64).to(device, non_blocking=True)


def apply_grouped(images: Tensor, steps: Sequence[Step], fill: Color) -> Tensor:
    """Apply one step after the other, operation by operation on the images concerned; (B, 3, H, W) in [0, 1].

    An image with anything to do is first rounded to 8 bits and stays so; the others are left as they are.
    ``fill`` colours what lay outside the image, in levels 0..255. May read the host.
    """
    rows = _changed(steps).nonzero().squeeze(1)
    color = constant(fill, images.device).to(images.dtype)

    def change(chosen: Tensor) -> Tensor:
        levels = _levels(chosen)
        for step in steps:
            _apply_groups_(levels, take(step, rows), color)
        return levels.div_(photometric.WHITE)

    return change_rows(images, rows, change)


def apply_branch_free(images: Tensor, steps: Sequence[Step], fill: Color, resamplings: Sequence[int]) -> Tensor:
    """The same without host reads: every operation on every image, of which each keeps its own.

    ``resamplings`` names those that may occur in the steps.
    """
    levels, color = _levels(images), constant(fill, images.device).to(images.dtype)
    for step in steps:
        levels = _apply_all(levels, step, color, resamplings)
    return torch.where(per_image(_changed(steps)), levels.div_(photometric.WHITE), images)


def _changed(steps: Sequence[Step]) -> Tensor:
    """Which images have anything to do, (B,) bool."""
    return torch.stack([step.operation for step in steps]).any(0)


def _levels(images: Tensor) -> Tensor:
    """Whole grey levels 0..255 of images in [0, 1]."""
    return (images * photometric.WHITE).round_()


def _apply_groups_(levels: Tensor, step: Step, fill: Tensor) -> None:
    """One step in place; images are sorted by operation, or by resampling where pixels are moved."""
    moves = step.operation >= FIRST_MOVING
    group = torch.where(moves, step.resampling + FIRST_MOVING, step.operation)
    order, sizes = group.argsort(), group.bincount().tolist()
    parts = (field.split(sizes) for field in (order, *take(step, order)))
    for number, (rows, operation, strength, _) in enumerate(zip(*parts, strict=True)):
        if number == Operation.IDENTITY or len(rows) == 0:
            continue
        chosen = levels.index_select(0, rows)
        if number >= FIRST_MOVING:
            changed = warp(chosen, _maps(chosen, operation, strength), number - FIRST_MOVING, fill)
        elif number in TABLES:
            changed = photometric.look_up(chosen, TABLES[number](chosen, strength.to(chosen.dtype)))
        else:
            changed = BLENDS[number](chosen, strength.to(chosen.dtype))
        levels.index_copy_(0, rows, changed)


def _apply_all(levels: Tensor, step: Step, fill: Tensor, resamplings: Sequence[int]) -> Tensor:
    """One step, all operations on all images."""
    operation, strength = step.operation, step.strength.to(levels.dtype)
    table = photometric.unchanged(levels)
    for number, make_table in TABLES.items():
        table = torch.where((operation == int(number))[:, None, None], make_table(levels, strength), table)
    out = photometric.look_up(levels, table)
    for number, blend in BLENDS.items():
        out = torch.where(per_image(operation == int(number)), blend(levels, strength), out)
    maps = _maps(levels, operation, step.strength)
    moved_by = torch.where(operation >= FIRST_MOVING, step.resampling, -1)
    for resampling in resamplings:
        out = torch.where(per_image(moved_by == resampling), warp(levels, maps, resampling, fill), out)
    return out


def _maps(levels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """The affine maps of the operations that move pixels, those of the others being idle; (K, 2, 3) float64."""
    moving = torch.arange(FIRST_MOVING, COUNT, device=levels.device)
    own = strength[:, None] * (operation[:, None] == moving)
    degrees, shear_x, shear_y, shift_x, shift_y = own.unbind(1)
    return affine_maps(degrees, (shear_x, shear_y), (shift_x, shift_y), (levels.shape[2], levels.shape[3]))

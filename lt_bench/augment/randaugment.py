"""RandAugment as the large-image recipes of BCL, PaCo and ProCo use it ("rand-n-m-mstd")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.affine import BICUBIC, BILINEAR
from lt_bench.augment.operations import Operation, Step, apply_branch_free, apply_grouped, constant, steps_of
from lt_bench.augment.selection import draw_uniform
from lt_bench.config.settings import MOST_OPERATIONS
from lt_bench.errors import SettingError

# strength = base + slope M; whether it is cut to a whole number; whether it has a random sign
STRENGTHS = {
    Operation.POSTERIZE: (0, 0.4, True, False),
    Operation.SOLARIZE: (0, 25.6, True, False),
    Operation.SOLARIZE_ADD: (0, 11, True, False),
    Operation.BRIGHTNESS: (0.1, 0.18, False, False),
    Operation.CONTRAST: (0.1, 0.18, False, False),
    Operation.COLOR: (0.1, 0.18, False, False),
    Operation.SHARPNESS: (0.1, 0.18, False, False),
    Operation.ROTATE: (0, 3, False, True),
    Operation.SHEAR_X: (0, 0.03, False, True),
    Operation.SHEAR_Y: (0, 0.03, False, True),
    Operation.TRANSLATE_X: (0, 0.045, False, True),
    Operation.TRANSLATE_Y: (0, 0.045, False, True),
}
ROWS = [STRENGTHS.get(operation, (0, 0, False, False)) for operation in Operation]
LARGEST = 10.0  # magnitudes are clipped to 0..10
PROBABILITY = 0.5  # of applying an operation that was drawn
FILL = (124, 116, 104)  # the mean colour of ImageNet


class RandAugmentParams(NamedTuple):
    """Operations in order, (B, n) int64; whether each is applied; its magnitude 0..10; its sign; its resampling.

    All are (B, n): ``magnitude`` float32, ``applied``, ``negative`` and ``bicubic`` (else bilinear) bool.
    """

    operation: Tensor
    applied: Tensor
    magnitude: Tensor
    negative: Tensor
    bicubic: Tensor


class RandAugment:
    """``n`` operations per image out of 15, with replacement, each applied with probability 0.5.

    Magnitudes are normal with mean ``m`` and standard deviation ``mstd``, clipped to [0, 10]. Uncovered pixels have
    the mean colour of ImageNet. An image with anything to do is first rounded to 8 bits, and every operation gives
    whole levels, as the Python Imaging Library has it.
    Source: Cubuk et al., CVPR workshops 2020, in the timm library's form, which the authors' code of BCL and PaCo uses.
    Deviation: rounding where pixels are mixed, see ``affine.warp``.
    """

    def __init__(self, n: int, m: float, mstd: float) -> None:
        if n > MOST_OPERATIONS:
            raise SettingError("n", f"at most {MOST_OPERATIONS}", n, 2)
        for name, value, least, usual in (("n", n, 1, 2), ("m", m, 0, 10), ("mstd", mstd, 0, 0.5)):
            if not value >= least:
                raise SettingError(name, f"at least {least}", value, usual)
        self.n, self.m, self.mstd = n, m, mstd

    def draw(self, count: int, generator: torch.Generator) -> RandAugmentParams:
        """Operations of ``count`` images with their magnitudes, signs and resampling."""
        shape = (count, self.n)
        magnitude = torch.empty(shape, device=generator.device).normal_(self.m, self.mstd, generator=generator)
        applied, negative, bicubic = (draw_uniform((3, *shape), (0.0, 1.0), generator) < PROBABILITY).unbind()
        return RandAugmentParams(
            operation=torch.randint(1, len(Operation), shape, generator=generator, device=generator.device),
            applied=applied,
            magnitude=magnitude.clamp_(0, LARGEST),
            negative=negative,
            bicubic=bicubic,
        )

    def steps(self, params: RandAugmentParams) -> list[Step]:
        """The first to the last operation of every image."""
        base, slope, whole, signed = constant(ROWS, params.operation.device)[params.operation].unbind(2)
        size = base + slope * params.magnitude.double()
        strength = torch.where(whole > 0, size.floor(), size) * (1 - 2 * signed * params.negative)
        resampling = torch.where(params.bicubic, BICUBIC, BILINEAR)
        return steps_of(params.operation * params.applied, strength, resampling)

    def grouped(self, images: Tensor, params: RandAugmentParams) -> Tensor:
        """Apply, operation by operation on the images concerned; (B, 3, H, W) to the same shape."""
        return apply_grouped(images, self.steps(params), FILL)

    def branch_free(self, images: Tensor, params: RandAugmentParams) -> Tensor:
        """Apply all operations to all images and choose; (B, 3, H, W) to the same shape."""
        return apply_branch_free(images, self.steps(params), FILL, (BILINEAR, BICUBIC))

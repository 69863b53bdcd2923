"""AutoAugment with the policy found for CIFAR-10."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.affine import BICUBIC, NEAREST
from lt_bench.augment.operations import Operation, Step, apply_branch_free, apply_grouped, constant, steps_of
from lt_bench.augment.selection import draw_uniform

# two (operation, probability, magnitude index 0..9) each: Cubuk et al., CVPR 2019, appendix, policy for CIFAR-10;
# operations without a magnitude have index 0
POLICY = (
    ((Operation.INVERT, 0.1, 0), (Operation.CONTRAST, 0.2, 6)),
    ((Operation.ROTATE, 0.7, 2), (Operation.TRANSLATE_X, 0.3, 9)),
    ((Operation.SHARPNESS, 0.8, 1), (Operation.SHARPNESS, 0.9, 3)),
    ((Operation.SHEAR_Y, 0.5, 8), (Operation.TRANSLATE_Y, 0.7, 9)),
    ((Operation.AUTO_CONTRAST, 0.5, 0), (Operation.EQUALIZE, 0.9, 0)),
    ((Operation.SHEAR_Y, 0.2, 7), (Operation.POSTERIZE, 0.3, 7)),
    ((Operation.COLOR, 0.4, 3), (Operation.BRIGHTNESS, 0.6, 7)),
    ((Operation.SHARPNESS, 0.3, 9), (Operation.BRIGHTNESS, 0.7, 9)),
    ((Operation.EQUALIZE, 0.6, 0), (Operation.EQUALIZE, 0.5, 0)),
    ((Operation.CONTRAST, 0.6, 7), (Operation.SHARPNESS, 0.6, 5)),
    ((Operation.COLOR, 0.7, 7), (Operation.TRANSLATE_X, 0.5, 8)),
    ((Operation.EQUALIZE, 0.3, 0), (Operation.AUTO_CONTRAST, 0.4, 0)),
    ((Operation.TRANSLATE_Y, 0.4, 3), (Operation.SHARPNESS, 0.2, 6)),
    ((Operation.BRIGHTNESS, 0.9, 6), (Operation.COLOR, 0.2, 8)),
    ((Operation.SOLARIZE, 0.5, 2), (Operation.INVERT, 0.0, 0)),
    ((Operation.EQUALIZE, 0.2, 0), (Operation.AUTO_CONTRAST, 0.6, 0)),
    ((Operation.EQUALIZE, 0.2, 0), (Operation.EQUALIZE, 0.6, 0)),
    ((Operation.COLOR, 0.9, 9), (Operation.EQUALIZE, 0.6, 0)),
    ((Operation.AUTO_CONTRAST, 0.8, 0), (Operation.SOLARIZE, 0.2, 8)),
    ((Operation.BRIGHTNESS, 0.1, 3), (Operation.COLOR, 0.7, 0)),
    ((Operation.SOLARIZE, 0.4, 5), (Operation.AUTO_CONTRAST, 0.9, 0)),
    ((Operation.TRANSLATE_Y, 0.9, 9), (Operation.TRANSLATE_Y, 0.7, 9)),
    ((Operation.AUTO_CONTRAST, 0.9, 0), (Operation.SOLARIZE, 0.8, 3)),
    ((Operation.EQUALIZE, 0.8, 0), (Operation.INVERT, 0.1, 0)),
    ((Operation.TRANSLATE_Y, 0.7, 9), (Operation.AUTO_CONTRAST, 0.9, 0)),
)


# strength at index 0 and 9 and, at index 9, what a random sign adds to it or takes away: the ranges that the public
# long-tail code bases use with this policy
STRENGTHS = {
    Operation.ROTATE: (0, 30, 0),
    Operation.SHEAR_Y: (0, 0, 0.3),
    Operation.TRANSLATE_X: (0, 0, 150 / 331),
    Operation.TRANSLATE_Y: (0, 0, 150 / 331),
    Operation.BRIGHTNESS: (1, 1, 0.9),
    Operation.COLOR: (1, 1, 0.9),
    Operation.CONTRAST: (1, 1, 0.9),
    Operation.SHARPNESS: (1, 1, 0.9),
    Operation.POSTERIZE: (8, 4, 0),
    Operation.SOLARIZE: (256, 0, 0),
}
GREY = (128, 128, 128)


def _row(operation: Operation, probability: float, index: int) -> tuple[float, ...]:
    """Number, probability, strength, what a random sign adds to it, and resampling of one entry of the policy."""
    first, last, swing = STRENGTHS.get(operation, (0, 0, 0))
    strength = first + (last - first) * index / 9
    if operation == Operation.POSTERIZE:
        strength = round(strength)
    resampling = BICUBIC if operation == Operation.SHEAR_Y else NEAREST
    return int(operation), probability, strength, swing * index / 9, resampling


ROWS = [[_row(*entry) for entry in pair] for pair in POLICY]


class AutoAugmentParams(NamedTuple):
    """Sub-policy 0..24, (B,) int64; whether each of its two operations is applied, and in the negative, (B, 2) bool."""

    policy: Tensor
    applied: Tensor
    negative: Tensor


class AutoAugment:
    """One of 25 pairs of operations per image, each operation applied with a probability of its own.

    Shear is bicubic, translation and rotation take the nearest pixel; rotation is counter-clockwise; uncovered pixels
    are grey. An image with anything to do is first rounded to 8 bits, and every operation gives whole levels, as the
    Python Imaging Library has it.
    Source: Cubuk et al., CVPR 2019, with the operations of the authors' code of BCL, PaCo and ProCo on CIFAR.
    Deviation: rounding where pixels are mixed, see ``affine.warp``.
    """

    def draw(self, count: int, generator: torch.Generator) -> AutoAugmentParams:
        """Sub-policies of ``count`` images, and which of their operations are applied with which sign."""
        policy = torch.randint(len(POLICY), (count,), generator=generator, device=generator.device)
        probability = constant(ROWS, policy.device)[policy, :, 1]
        unit = draw_uniform((count, 4), (0.0, 1.0), generator)
        return AutoAugmentParams(policy, applied=unit[:, :2] < probability, negative=unit[:, 2:] < 0.5)

    def steps(self, params: AutoAugmentParams) -> list[Step]:
        """The first and the second operation of every image."""
        operation, _, strength, swing, resampling = constant(ROWS, params.policy.device)[params.policy].unbind(2)
        strength = strength + torch.where(params.negative, -swing, swing)
        return steps_of(operation.long() * params.applied, strength, resampling.long())

    def grouped(self, images: Tensor, params: AutoAugmentParams) -> Tensor:
        """Apply, operation by operation on the images concerned; (B, 3, H, W) to the same shape."""
        return apply_grouped(images, self.steps(params), GREY)

    def branch_free(self, images: Tensor, params: AutoAugmentParams) -> Tensor:
        """Apply all operations to all images and choose; (B, 3, H, W) to the same shape."""
        return apply_branch_free(images, self.steps(params), GREY, (NEAREST, BICUBIC))

"""Photometric distortion of scenes: brightness, contrast, saturation and hue, each of them at times."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.color import rotate_hue
from lt_bench.augment.selection import draw_applied, draw_uniform, per_image, require_probability
from lt_bench.errors import SettingError


class DistortionParams(NamedTuple):
    """What is added, two factors and a turn of the hue (1 = full circle), (B,) each: 0, 1, 1, 0 change nothing.

    ``first`` (B,) bool: the contrast changes before saturation and hue.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    first: Tensor


class PhotometricDistortion:
    """Each with probability p: brightness by up to 32 of 255, contrast and saturation by 0.5 to 1.5, hue by 18 of 180.

    The contrast changes before or after saturation and hue; values are kept in [0, 1] after each.
    Source: MMSegmentation's PhotoMetricDistortion, after Liu et al., ECCV 2016 (SSD).  Deviation: values are not
    rounded to bytes between the steps, and the turn of the hue is no whole number of degrees.
    """

    def __init__(
        self,
        brightness: float = 0.1255,  # 32 of 255
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.1,
        p: float = 0.5,
    ) -> None:
        for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if not 0 <= value <= 1:
                raise SettingError(name, "from 0 to 1", value, 0.5)
        if not 0 <= hue <= 0.5:
            raise SettingError("hue", "from 0 to 0.5", hue, 0.1)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.p = require_probability(p)

    def draw(self, count: int, generator: torch.Generator) -> DistortionParams:
        """What happens to ``count`` images."""

        def at_times(spread: float, usual: float) -> Tensor:
            value = draw_uniform((count,), (usual - spread, usual + spread), generator)
            return torch.where(draw_applied(count, self.p, generator), value, usual)

        return DistortionParams(
            at_times(self.brightness, 0.0),
            at_times(self.contrast, 1.0),
            at_times(self.saturation, 1.0),
            at_times(self.hue, 0.0),
            draw_applied(count, 0.5, generator),
        )

    def branch_free(self, images: Tensor, params: DistortionParams) -> Tensor:
        """Change all images, (B, 3, H, W) to the same shape."""
        one = torch.ones_like(params.contrast)
        bright = (images + per_image(params.brightness)).clamp(0, 1)
        before = (bright * per_image(torch.where(params.first, params.contrast, one))).clamp(0, 1)
        turned = rotate_hue(_saturated(before, params.saturation), params.hue)
        return (turned * per_image(torch.where(params.first, one, params.contrast))).clamp(0, 1)

    grouped = branch_free


def _saturated(images: Tensor, factor: Tensor) -> Tensor:
    """Images whose saturation (chroma by value) is multiplied, at most to 1; value and hue stay."""
    value, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    most = value / (value - low).clamp(min=torch.finfo(images.dtype).tiny)  # the factor that makes it 1
    return value - (value - images) * torch.minimum(per_image(factor), most)

"""Colour: jitter of brightness, contrast, saturation and hue in a random order, and grayscale."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.selection import change_rows, draw_applied, draw_uniform, per_image, require_probability, take
from lt_bench.config.settings import MOST_JITTER
from lt_bench.errors import SettingError

# numbers of the adjustments in an order, as in torchvision's ColorJitter
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

# shares of red, green and blue in grey: ITU-R BT.601, rounded as in torchvision
GREY_SHARES = (0.2989, 0.587, 0.114)


class JitterParams(NamedTuple):
    """Factors of brightness, contrast and saturation and turn of the hue (1 = full circle), (B,) each; order (B, 4).

    A row of ``order`` is a permutation of the numbers above, the first being done first; ``applied`` is (B,) bool.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    order: Tensor
    applied: Tensor


class GrayscaleParams(NamedTuple):
    """Whether each image loses its colour, (B,) bool."""

    applied: Tensor


class ColorJitter:
    """Random brightness, contrast, saturation and hue in an order of its own for every image, with probability p.

    Factors are uniform in [max(0, 1 - x), 1 + x], the turn of the hue in [-hue, hue]; a setting of 0 changes nothing.
    Source: torchvision's ColorJitter inside RandomApply. Deviation: none.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float, p: float = 1.0) -> None:
        for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if not 0 <= value <= MOST_JITTER:
                raise SettingError(name, f"from 0 to {MOST_JITTER} for the {name}", value, 0.4)
        if not 0 <= hue <= 0.5:
            raise SettingError("hue", "from 0 to 0.5 for the hue", hue, 0.1)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.p = require_probability(p)

    def draw(self, count: int, generator: torch.Generator) -> JitterParams:
        """Factors and orders of ``count`` images, and which of them are changed at all."""

        def factor(spread: float) -> Tensor:
            return draw_uniform((count,), (max(0.0, 1 - spread), 1 + spread), generator)

        return JitterParams(
            brightness=factor(self.brightness),
            contrast=factor(self.contrast),
            saturation=factor(self.saturation),
            hue=draw_uniform((count,), (-self.hue, self.hue), generator),
            order=draw_uniform((count, 4), (0.0, 1.0), generator).argsort(1),
            applied=draw_applied(count, self.p, generator),
        )

    def grouped(self, images: Tensor, params: JitterParams) -> Tensor:
        """Jitter the chosen images only, sorted by when their hue is turned, so that each turn is one slice."""
        rows = params.applied.nonzero().squeeze(1)
        rows = rows[params.order[rows].argmax(1).argsort()]
        chosen = take(params, rows)
        sizes = chosen.order.argmax(1).bincount(minlength=4).tolist()
        turns = chosen.hue.split(sizes)

        def turn_slice(rgb: Tensor, slot: int) -> Tensor:
            part = rgb.split(sizes)[slot]
            part.copy_(rotate_hue(part, turns[slot]))
            return rgb

        return change_rows(images, rows, lambda rgb: self._jitter_(rgb, chosen, turn_slice))

    def branch_free(self, images: Tensor, params: JitterParams) -> Tensor:
        """Jitter all images, turning all hues in every slot, and choose; (B, 3, H, W) to the same shape."""
        place = params.order.argmax(1)

        def turn_all(rgb: Tensor, slot: int) -> Tensor:
            return torch.where(per_image(place == slot), rotate_hue(rgb, params.hue), rgb)

        return torch.where(per_image(params.applied), self._jitter_(images.clone(), params, turn_all), images)

    def _jitter_(self, rgb: Tensor, params: JitterParams, turn: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Three blends, with the turn of the hue before, between or after them; in place."""
        blends = _blends(params)
        for slot in range(4):
            if self.hue > 0:
                rgb = turn(rgb, slot)
            if slot < 3:
                rgb = _blend_(rgb, *blends[slot])
        return rgb


class Grayscale:
    """Replace the colours of an image by its luminance, with probability p. Source: torchvision's RandomGrayscale."""

    def __init__(self, p: float) -> None:
        self.p = require_probability(p)

    def draw(self, count: int, generator: torch.Generator) -> GrayscaleParams:
        """Which of ``count`` images lose their colour."""
        return GrayscaleParams(draw_applied(count, self.p, generator))

    def grouped(self, images: Tensor, params: GrayscaleParams) -> Tensor:
        """Change the chosen images only; (B, 3, H, W) to the same shape."""
        return change_rows(images, params.applied.nonzero().squeeze(1), grey)

    def branch_free(self, images: Tensor, params: GrayscaleParams) -> Tensor:
        """Change all images and choose; (B, 3, H, W) to the same shape."""
        return torch.where(per_image(params.applied), grey(images), images)


def grey(images: Tensor) -> Tensor:
    """Luminance of RGB images, (B, 3, H, W) -> (B, 1, H, W)."""
    red, green, blue = images.split(1, dim=1)
    return (red * GREY_SHARES[0]).add_(green, alpha=GREY_SHARES[1]).add_(blue, alpha=GREY_SHARES[2])


def rotate_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of each image; the largest and smallest channel value of a pixel stay what they are.

    Shapes: images (B, 3, H, W) RGB, turn (B,) in circles; returns (B, 3, H, W).
    Source: hexcone model of Smith, SIGGRAPH 1978. Deviation from torchvision's adjust_hue: no detour over saturation
    and value; equal up to rounding.
    """
    red, green, blue = images.unbind(1)
    low = torch.minimum(torch.minimum(red, green), blue)
    sixfold_chroma = torch.maximum(torch.maximum(red, green), blue).sub_(low).mul_(6)
    # hue in circles from cyan (red = 1/2, green = -1/6, blue = 1/6); a grey pixel gets some hue, which its chroma of 0
    # makes irrelevant. No torch.where: on a CPU it costs as much as twenty sums
    distance = (red - green).sub_(blue - low).div_(sixfold_chroma.clamp(min=torch.finfo(images.dtype).tiny)).add_(1 / 3)
    hue = torch.copysign(distance, blue - green).add_(turn[:, None, None])
    hue.sub_(hue.round())
    greens, blues = ((hue + shift).abs_().neg_().add_(1 / 3) for shift in (1 / 6, -1 / 6))
    shares = torch.stack([hue.abs_().sub_(1 / 6), greens, blues], dim=1)
    return shares.clamp_(0, 1 / 6).mul_(sixfold_chroma[:, None]).add_(low[:, None])


def _blends(params: JitterParams) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Brightness, contrast and saturation in each image's order, all three as shares of image, grey and mean grey.

    Returns three steps of three (B, 1, 1, 1) tensors.
    """
    steps = torch.arange(3, device=params.order.device)
    slots = steps + (steps >= params.order.argmax(1, keepdim=True))
    kinds = params.order.gather(1, slots)
    own = torch.stack([params.brightness, params.contrast, params.saturation], dim=1).gather(1, kinds)
    of_grey = (1 - own) * (kinds == SATURATION)
    of_mean = (1 - own) * (kinds == CONTRAST)
    return [(per_image(own[:, k]), per_image(of_grey[:, k]), per_image(of_mean[:, k])) for k in range(3)]


def _blend_(rgb: Tensor, own: Tensor, of_grey: Tensor, of_mean: Tensor) -> Tensor:
    """Weighted sum of an image, its grey and its mean grey, kept in [0, 1]; (B, 3, H, W), in place."""
    luminance = grey(rgb)
    mean = luminance.mean((1, 2, 3), keepdim=True)
    return rgb.mul_(own).add_(luminance.mul_(of_grey).add_(mean * of_mean)).clamp_(0, 1)

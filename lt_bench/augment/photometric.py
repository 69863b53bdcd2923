"""Colour operations on whole grey levels: tables from level to level, colour strength and sharpness.

Images hold whole numbers 0..255 as float32, (K, 3, H, W); strengths are (K,). The levels are those that the Python
Imaging Library gives for 8-bit images, as fractions are cut off in the same places. A table is anything that broadcasts
to (K, 3, 256).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.augment.selection import per_image

WHITE = 255

# shares of red, green and blue in grey, in 65536ths: ITU-R BT.601, rounded as in the Python Imaging Library
GREY_SHARES = (19595, 38470, 7471)


def look_up(levels: Tensor, table: Tensor) -> Tensor:
    """Replace every level by its entry in the table; (K, 3, H, W) to the same shape."""
    return table.expand(len(levels), 3, WHITE + 1).gather(2, levels.flatten(2).long()).view_as(levels)


def unchanged(levels: Tensor) -> Tensor:
    """The table that changes nothing, (256,)."""
    return torch.arange(WHITE + 1, device=levels.device, dtype=levels.dtype)


def auto_contrast(levels: Tensor, _: Tensor) -> Tensor:
    """Table that stretches each channel to 0..255. Source: ImageOps.autocontrast. Deviation: none."""
    low, high = (extreme((2, 3)).double()[:, :, None] for extreme in (levels.amin, levels.amax))
    table = unchanged(levels)
    # not WHITE / ..., which multiplies by a rounded reciprocal and misses a level here and there
    scale = torch.full_like(high, WHITE) / (high - low).clamp(min=1)
    return torch.where(high > low, (table * scale - low * scale).floor(), table).to(levels.dtype)


def equalize(levels: Tensor, _: Tensor) -> Tensor:
    """Table that makes the levels of each channel equally frequent. Source: ImageOps.equalize. Deviation: none."""
    pixels = levels.flatten(2).long()
    counts = pixels.new_zeros(len(pixels), 3, WHITE + 1).scatter_add_(2, pixels, torch.ones_like(pixels))
    lightest = counts.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - lightest) // WHITE
    table = (step // 2 + counts.cumsum(2) - counts) // step.clamp(min=1)
    return torch.where(step > 0, table.clamp(max=WHITE), unchanged(pixels)).to(levels.dtype)


def invert(levels: Tensor, _: Tensor) -> Tensor:
    """Table of the negative. Source: ImageOps.invert. Deviation: none."""
    return WHITE - unchanged(levels)


def posterize(levels: Tensor, bits: Tensor) -> Tensor:
    """Table that keeps the leading 0..8 bits. Source: ImageOps.posterize. Deviation: none."""
    step = (8 - _per_table(bits)).exp2()
    return (unchanged(levels) / step).floor() * step


def solarize(levels: Tensor, threshold: Tensor) -> Tensor:
    """Table that inverts levels from the threshold on. Source: ImageOps.solarize. Deviation: none."""
    table = unchanged(levels)
    return torch.where(table < _per_table(threshold), table, WHITE - table)


def solarize_add(levels: Tensor, addition: Tensor) -> Tensor:
    """Table that lightens levels below 128. Source: RandAugment of the timm library. Deviation: none."""
    table = unchanged(levels)
    return torch.where(table < 128, (table + _per_table(addition)).clamp(max=WHITE), table)


def brightness(levels: Tensor, factor: Tensor) -> Tensor:
    """Table that moves levels away from black. Source: ImageEnhance.Brightness. Deviation: none."""
    return _blend(torch.zeros_like(factor)[:, None, None], unchanged(levels), _per_table(factor))


def contrast(levels: Tensor, factor: Tensor) -> Tensor:
    """Table that moves levels away from the mean grey level. Source: ImageEnhance.Contrast. Deviation: none."""
    mean = _luminance(levels).mean((2, 3), dtype=torch.float64)[:, :, None]
    return _blend((mean + 0.5).floor().to(levels.dtype), unchanged(levels), _per_table(factor))


def color(levels: Tensor, factor: Tensor) -> Tensor:
    """Move pixels away from grey; (K, 3, H, W) to the same shape. Source: ImageEnhance.Color. Deviation: none."""
    return _blend(_luminance(levels), levels, per_image(factor))


def sharpness(levels: Tensor, factor: Tensor) -> Tensor:
    """Move pixels off the edge away from a smoothed image; (K, 3, H, W) to the same shape.

    The smoothed pixel is a mean of nine, its own weight being 5 / 13. Source: ImageEnhance.Sharpness. Deviation: none.
    """
    if min(levels.shape[2:]) < 3:
        return levels
    inner = levels[:, :, 1:-1, 1:-1]
    columns = levels[..., :-2] + levels[..., 1:-1] + levels[..., 2:]
    nine = columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:]
    smooth = (nine + 4 * inner).div_(13).add_(0.5).floor_()
    out = levels.clone()
    out[:, :, 1:-1, 1:-1] = _blend(smooth, inner, per_image(factor))
    return out


def _per_table(strength: Tensor) -> Tensor:
    """(K,) -> (K, 1, 1)."""
    return strength[:, None, None]


def _blend(base: Tensor, levels: Tensor, factor: Tensor) -> Tensor:
    """Levels at ``factor`` times their distance from the base. Source: Image.blend in float32. Deviation: none."""
    return (levels - base).mul_(factor).add_(base).clamp_(0, WHITE).floor_()


def _luminance(levels: Tensor) -> Tensor:
    """Grey levels, (K, 3, H, W) -> (K, 1, H, W); the sums stay below 2^24 and are exact in float32.

    Source: Image.convert("L").
    """
    red, green, blue = (channel * share for channel, share in zip(levels.split(1, dim=1), GREY_SHARES, strict=True))
    return red.add_(green).add_(blue).add_(2**15).div_(2**16).floor_()

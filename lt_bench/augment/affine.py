"""Rotation, shear and translation of whole grey levels, one affine map per image.

Images hold whole numbers 0..255 as float32, (K, 3, H, W). Coordinates count pixels from the upper left corner of the
image, so that pixel (0, 0) has its centre at (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NEAREST, BILINEAR, BICUBIC = range(3)

# lines around a point that contribute to it, counted from the last line before it
REACH = {BILINEAR: (0, 1), BICUBIC: (-1, 0, 1, 2)}


def affine_maps(
    degrees: Tensor, shears: tuple[Tensor, Tensor], shifts: tuple[Tensor, Tensor], size: tuple[int, int]
) -> Tensor:
    """Where each output point is read: x' = a x + b y + c, y' = d x + e y + f; (K, 2, 3) as ((a, b, c), (d, e, f)).

    Strengths are (K,) float64, shears and shifts in x and in y, and for each image at most one of them is not zero.
    ``size`` is height and width. Positive degrees turn counter-clockwise around the centre; a shear keeps the upper
    left corner; shifts are shares of width and height.
    Source: Image.rotate and Image.transform of the Python Imaging Library. Deviation: none.
    """
    height, width = size
    angle = degrees.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    center_x, center_y = width / 2, height / 2
    across = cos, shears[0] - sin, center_x - (cos * center_x - sin * center_y) + shifts[0] * width
    down = sin + shears[1], cos, center_y - (sin * center_x + cos * center_y) + shifts[1] * height
    return torch.stack([torch.stack(across, dim=1), torch.stack(down, dim=1)], dim=1)


def warp(levels: Tensor, maps: Tensor, resampling: int, fill: Tensor) -> Tensor:
    """Read every image at the points of its map, with the fill colour where the point is outside the image.

    Shapes: levels (K, 3, H, W), maps (K, 2, 3) float64, fill (3,); returns (K, 3, H, W). ``resampling`` is NEAREST,
    BILINEAR or BICUBIC, the latter by the cubic with a = -1; beyond an edge the edge pixels go on; fractions of a level
    are cut off. Source: Image.transform of the Python Imaging Library. Deviation: sums in float32, not float64, so that
    BILINEAR and BICUBIC give a neighbouring level at a few pixels in a hundred.
    """
    height, width = levels.shape[2:]
    x, y = _points(_fixed_point(maps) if resampling == NEAREST else maps, levels)
    inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height))[:, None]
    if resampling == NEAREST:
        out = _read(levels, _lines(y.floor(), height), _lines(x.floor(), width)[:, None])[:, :, 0]
    else:
        out = _interpolate(levels, x - 0.5, y - 0.5, resampling)
    return torch.where(inside, out, fill[:, None, None])


def _points(maps: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Where the centre of each pixel is read, x and y, (K, H, W) each."""
    down, across = (torch.arange(size, device=maps.device, dtype=maps.dtype) + 0.5 for size in levels.shape[2:])
    a, b, c = maps[..., None, None].unbind(2)
    x, y = (a * across + (b * down[:, None] + c)).unbind(1)
    return x, y


def _fixed_point(maps: Tensor) -> Tensor:
    """Maps as the library's nearest-pixel loop has them: slopes and first point are multiples of 2^-16."""
    slopes, start = maps[..., :2], maps[..., 2:]
    half_pixel = slopes.sum(2, keepdim=True) / 2
    slopes, first = ((exact * 2**16 + 0.5).floor() / 2**16 for exact in (slopes, start + half_pixel))
    return torch.cat([slopes, first - slopes.sum(2, keepdim=True) / 2], dim=2)


def _interpolate(levels: Tensor, x: Tensor, y: Tensor, resampling: int) -> Tensor:
    """Mix neighbours in each line, then the lines, at points counted from the centre of pixel (0, 0); (K, 3, H, W)."""
    height, width = levels.shape[2:]
    left, top, reach = x.floor(), y.floor(), REACH[resampling]
    across, down = ((point - before).to(levels.dtype)[:, None] for point, before in ((x, left), (y, top)))
    columns = torch.stack([_lines(left + step, width) for step in reach], dim=1)
    rows = (_read(levels, _lines(top + step, height), columns).unbind(2) for step in reach)
    return _mix([_mix(row, across) for row in rows], down).clamp_(0, 255).floor_()


def _lines(places: Tensor, extent: int) -> Tensor:
    """Whole places as numbers of lines, int64: the first or last line where there is none; overwrites its input."""
    return places.clamp_(0, extent - 1).long()


def _read(levels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels at rows (K, H, W) and columns (K, T, H, W); returns (K, 3, T, H, W)."""
    index = (columns + (rows * levels.shape[3])[:, None]).flatten(1)
    pixels = levels.flatten(2).gather(2, index[:, None].expand(-1, 3, -1))
    return pixels.view(*levels.shape[:2], *columns.shape[1:])


def _mix(lines: Sequence[Tensor], place: Tensor) -> Tensor:
    """Value at a place in [0, 1] between the middle two of two or four neighbouring lines.

    Source: straight line; Keys' cubic, IEEE Trans. ASSP 1981, with a = -1.
    """
    if len(lines) == 2:
        before, after = lines
        return (after - before).mul_(place).add_(before)
    first, before, after, last = lines
    bend = first - before
    square = (bend * 2).add_(after).sub_(last)
    cube = (last - after).sub_(bend)
    return cube.mul_(place).add_(square).mul_(place).add_(after - first).mul_(place).add_(before)

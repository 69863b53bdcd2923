"""The blur of Pillow, with a strength of its own for every image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lt_bench.augment.blur import Blur

PASSES = 3  # as in Pillow's GaussianBlur


class BoxBlur(Blur):
    """Three moving averages per direction instead of a Gaussian, sigma uniform in the given range, with probability p.

    An average takes whole pixels up to its radius and a share of the next one; the outermost pixels are repeated.
    Source: Pillow's GaussianBlur(radius=sigma), after Gwosdek et al., SSVM 2011.
    Deviation: values are not rounded to 256 levels after each average.
    """

    def __init__(self, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5) -> None:
        super().__init__(sigma, p)
        self.margin = math.ceil(box_radius(torch.tensor(sigma[1])).item())

    def _blur(self, images: Tensor, sigma: Tensor) -> Tensor:
        """All passes of a direction are one matrix per image, which also holds what happens at the edges."""
        count, channels, height, width = images.shape
        radius = box_radius(sigma)
        columns = torch.bmm(images.flatten(1, 2), self._passes(radius, width).transpose(1, 2))
        across = columns.view(count, channels, height, width).transpose(1, 2).reshape(count, height, channels * width)
        rows = torch.bmm(self._passes(radius, height), across)
        return rows.view(count, height, channels, width).transpose(1, 2)

    def _passes(self, radius: Tensor, size: int) -> Tensor:
        """Share of every line in every line after all passes, (B, size, size); rows add up to 1."""
        lines = torch.arange(size, device=radius.device)
        sources = torch.arange(-self.margin, size + self.margin, device=radius.device)
        distance = (lines[:, None] - sources).abs()
        shares = (radius[:, None, None] + 1 - distance).clamp_(0, 1).div_(2 * radius[:, None, None] + 1)
        before, inside, behind = shares.split([self.margin, size, self.margin], dim=2)
        inside[:, :, 0] += before.sum(2)
        inside[:, :, -1] += behind.sum(2)
        return torch.linalg.matrix_power(inside, PASSES)


def box_radius(sigma: Tensor) -> Tensor:
    """Half width of the averages whose variances add up to sigma squared, with its fraction; (B,) to (B,).

    Source: Gwosdek et al., SSVM 2011, equations 7, 11 and 14.
    """
    variance = sigma.square() / PASSES
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1).square()))
    return whole + fraction

"""Gaussian blur with a strength of its own for every image."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_bench.augment.selection import change_rows, draw_applied, draw_uniform, per_image, require_probability


class BlurParams(NamedTuple):
    """Standard deviation in pixels, (B,); whether each image is blurred, (B,) bool."""

    sigma: Tensor
    applied: Tensor


class GaussianBlur:
    """Blur with a sigma uniform in the given range, with probability p.

    The kernel has ``kernel_size`` taps per direction (odd): exp(-d^2 / (2 sigma^2)) at whole distances d, scaled to
    sum 1, however large sigma is; edges are reflected without repeating the edge pixel.
    Source: torchvision's GaussianBlur inside RandomApply. Deviation: none.
    """

    def __init__(self, kernel_size: int, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0 or not 0 < sigma[0] <= sigma[1]:
            raise ValueError(
                f"GaussianBlur expects an odd kernel_size and 0 < low <= high in sigma, found {kernel_size}, {sigma}; "
                "type e.g. GaussianBlur(3, sigma=(0.1, 2.0), p=0.5)"
            )
        self.kernel_size, self.sigma = kernel_size, sigma
        self.p = require_probability("GaussianBlur", p)

    def draw(self, count: int, generator: torch.Generator) -> BlurParams:
        """Strengths of ``count`` images, and which of them are blurred."""
        return BlurParams(draw_uniform((count,), self.sigma, generator), draw_applied(count, self.p, generator))

    def grouped(self, images: Tensor, params: BlurParams) -> Tensor:
        """Blur the chosen images only; (B, C, H, W) to the same shape."""
        rows = params.applied.nonzero().squeeze(1)
        return change_rows(images, rows, lambda chosen: self._blur(chosen, params.sigma[rows]))

    def branch_free(self, images: Tensor, params: BlurParams) -> Tensor:
        """Blur all images and choose; (B, C, H, W) to the same shape."""
        return torch.where(per_image(params.applied), self._blur(images, params.sigma), images)

    def _blur(self, images: Tensor, sigma: Tensor) -> Tensor:
        """One direction after the other, which is the same as the square kernel."""
        margin = self.kernel_size // 2
        distance = torch.arange(-margin, margin + 1, device=sigma.device)
        kernel = (-0.5 * (distance / sigma[:, None]) ** 2).exp()
        taps = (kernel / kernel.sum(1, keepdim=True)).unbind(1)
        for dim, edges in ((2, (0, 0, margin, margin)), (3, (margin, margin, 0, 0))):
            padded, size = F.pad(images, edges, mode="reflect"), images.shape[dim]
            terms = (padded.narrow(dim, start, size) * per_image(tap) for start, tap in enumerate(taps))
            images = reduce(Tensor.add_, terms)
        return images

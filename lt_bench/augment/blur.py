"""Gaussian blur with a strength of its own for every image."""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_bench.augment.selection import change_rows, draw_applied, draw_uniform, per_image, require_probability
from lt_bench.errors import SettingError


class BlurParams(NamedTuple):
    """Standard deviation in pixels, (B,); whether each image is blurred, (B,) bool."""

    sigma: Tensor
    applied: Tensor


class Blur:
    """Blur with a sigma uniform in the given range, with probability p; a subclass says how in ``_blur``.

    Raises SettingError for a range that is not 0 < low <= high, and for a probability outside [0, 1].
    """

    def __init__(self, sigma: tuple[float, float], p: float) -> None:
        if not 0 < sigma[0] <= sigma[1]:
            raise SettingError("sigma", "a range with 0 < low <= high", sigma, "[0.1,2.0]")
        self.sigma = sigma
        self.p = require_probability(p)

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

    @abstractmethod
    def _blur(self, images: Tensor, sigma: Tensor) -> Tensor:
        """Images (B, C, H, W) with strengths sigma (B,)."""


class GaussianBlur(Blur):
    """Blur with a sigma uniform in the given range, with probability p.

    The kernel has ``kernel_size`` taps per direction (odd): exp(-d^2 / (2 sigma^2)) at whole distances d, scaled to
    sum 1, however large sigma is; edges are reflected without repeating the edge pixel.
    Source: torchvision's GaussianBlur inside RandomApply. Deviation: none.
    """

    def __init__(self, kernel_size: int, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5) -> None:
        super().__init__(sigma, p)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise SettingError("kernel_size", "odd", kernel_size, 3)
        self.kernel_size = kernel_size

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

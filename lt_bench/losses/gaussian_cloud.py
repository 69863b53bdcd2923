"""Gaussian clouded logits: the logits of rare classes are lowered by noise while training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.losses.logit_adjustment import positive


def cloud_sizes(counts: Tensor) -> Tensor:
    """How large the cloud of every class is: 0 for the largest, 1 for the smallest, by the logarithms of counts.

    Shapes: counts (C,); returns (C,) float64. Raises DataError for a class without images.
    Source: Li et al., CVPR 2022 (GCL), authors' code.  Deviation: 0 for all where classes are equal.
    """
    logs = positive(counts).log()
    spread = logs.max() - logs.min()
    return (logs.max() - logs) / spread if spread > 0 else torch.zeros_like(logs)


class GaussianClouds(nn.Module):
    """Logits scale * (cosine - ``cloud`` * noise * size of the class - ``margin`` at the true class).

    The noise is the absolute value of a normal one with deviation 1/3, at most 1, fresh for every image and class.
    Shapes: counts (C,) images per class. What it holds follows from ``counts``, so its state is empty.
    Source: Li et al., CVPR 2022, authors' code.  Deviation: none.
    Raises DataError for a class without images, SettingError for values out of range.
    """

    sizes: Tensor

    def __init__(self, counts: Tensor, scale: float, cloud: float, margin: float) -> None:
        super().__init__()
        if not 0 < scale < math.inf:
            raise SettingError("scale", "above 0", scale, 30)
        for name, value, usual in (("cloud", cloud, 0.5), ("margin", margin, 0.0)):
            if not 0 <= value < math.inf:
                raise SettingError(name, "0 or more", value, usual)
        self.scale, self.cloud, self.margin = scale, cloud, margin
        self.register_buffer("sizes", cloud_sizes(counts).float(), persistent=False)
        self.generator: torch.Generator | None = None  # of the step

    def noise(self, like: Tensor) -> Tensor:
        """Noise in [0, 1] of the shape and type of ``like``, from the generator of the step."""
        noise = torch.randn(like.shape, generator=self.generator, device=like.device, dtype=like.dtype) / 3
        return noise.clamp(-1, 1).abs()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Shapes: logits (B, C), ``scale`` times a cosine, labels (B,); returns (B, C), at least float32."""
        logits = at_least_float32(logits)
        lowered = logits - self.scale * self.cloud * self.noise(logits) * self.sizes.to(logits.dtype)
        if not self.margin:
            return lowered
        target = labels[:, None]
        return lowered.scatter_add(1, target, torch.full_like(lowered[:, :1], -self.scale * self.margin))


def detached_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images of (1 - p) * l, l the cross-entropy and p = exp(-l), through which no gradient passes.

    Shapes: logits (B, C), labels (B,); returns a scalar.
    Source: Li et al., CVPR 2022, authors' code of stage two.  Deviation: 1 - p is taken with ``expm1``.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (-torch.expm1(-losses.detach()) * losses).mean()

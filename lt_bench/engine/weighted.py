"""Images drawn with replacement, those of rare classes more often."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.engine.context import EngineContext


def image_weights(labels: Tensor, exponent: float) -> Tensor:
    """What the probability of every image is proportional to: (images of its class)^-exponent.

    Shapes: labels (N,); returns (N,) float64. 0: every image alike; 1: every class alike.
    Source: Park et al., CVPR 2022 (CMO); Du et al., CVPR 2023 (GLMC).  Deviation: none.
    """
    counts = torch.bincount(labels).double()
    return counts.clamp(min=1).pow(-exponent)[labels]


def drawn_positions(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` positions drawn with replacement, by weights (N,); (count,) int64, nothing is read on the host."""
    ends = weights.cumsum(0)
    places = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, places, right=True).clamp(max=len(weights) - 1)


class WeightedOrder:
    """Positions drawn with replacement by ``image_weights``, a function of (seed, stream, epoch) alone."""

    def __init__(self, labels: Tensor, exponent: float, context: EngineContext, stream: str) -> None:
        self.weights, self.context, self.stream = image_weights(labels, exponent), context, stream

    def __call__(self, epoch: int, count: int) -> Tensor:
        """The ``count`` positions of an epoch, (count,)."""
        return drawn_positions(self.weights, count, self.context.generator(self.stream, epoch))

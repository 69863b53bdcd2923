"""Labels as a batch of a long-tailed set has them."""

from __future__ import annotations

import torch
from torch import Tensor

CLASSES = 100
COUNTS = (500 * 0.01 ** (torch.arange(CLASSES) / (CLASSES - 1))).floor()  # CIFAR-100-LT, imbalance factor 100


def long_tailed_labels(count: int, generator: torch.Generator) -> Tensor:
    """Labels (count,) drawn as the images of the set are distributed over its classes."""
    return torch.multinomial(COUNTS, count, replacement=True, generator=generator)

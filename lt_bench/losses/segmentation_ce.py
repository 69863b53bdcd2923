"""Cross-entropy of pixels, and the mean that it is, over all processes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.models.masks import NO_LABEL
from lt_bench.models.regions import TINY, Gather, alone


def joint_mean(total: Tensor, count: Tensor, gather: Gather = alone) -> Tensor:
    """The sum of all processes' totals over that of their counts, both scalar; 0 where nothing is counted."""
    sums = gather(torch.stack([total, count.to(total.dtype)])[None]).sum(0)
    return sums[0] / sums[1].clamp(min=TINY)


def pixel_loss(logits: Tensor, mask: Tensor, gather: Gather = alone, ignored_in_mean: bool = False) -> Tensor:
    """Cross-entropy of logits (N, C, H, W) and a mask (N, H, W) uint8: the mean over the pixels with a label.

    ``ignored_in_mean`` divides by all pixels, those without a label counting 0, as MMSegmentation does.
    """
    total = F.cross_entropy(at_least_float32(logits), mask.long(), ignore_index=NO_LABEL, reduction="sum")
    count = torch.ones_like(mask) if ignored_in_mean else mask != NO_LABEL
    return joint_mean(total, count.sum(), gather)

"""What losses against a queue of past keys share: cosines, denominators and attraction to positives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Anchors(NamedTuple):
    """Queries (B, D), which have a gradient, their own keys (B, D) and the queue (K, D), all of unit length.

    For cosines, denominators and ``discrimination`` all three may have an axis in front, such as that of experts.
    """

    queries: Tensor
    keys: Tensor
    queue: Tensor

    def cosines(self) -> tuple[Tensor, Tensor]:
        """Cosines with the own key (B, 1) and with the queue (B, K), never in reduced precision."""
        dtype = torch.promote_types(self.queries.dtype, torch.float32)
        queries = self.queries.to(dtype)
        with torch.autocast(queries.device.type, enabled=False):
            return (queries * self.keys.to(dtype)).sum(-1, keepdim=True), queries @ self.queue.to(dtype).mT

    def denominators(self, temperature: float, logits: Tensor | None = None) -> Tensor:
        """Log-sum-exp of every query's cosines over the temperature, and of ``logits`` (B, C) with them; (B,)."""
        own, others = self.cosines()
        found = log_sum(own / temperature, others / temperature)
        return found if logits is None else torch.logaddexp(found, logits.logsumexp(1))

    def discrimination(self, temperature: float) -> Tensor:
        """Minus the log probability with which each query finds its own key among it and the queue, (B,).

        Source: He et al., CVPR 2020 (MoCo), eq. (1).  Deviation: none.
        """
        own, others = (cosines / temperature for cosines in self.cosines())
        return log_sum(own, others) - own[..., 0]

    def attraction(self, sums: Tensor, counts: Tensor) -> Tensor:
        """Mean cosine with the own key and with positives whose sum is (B, D) and whose number is (B,); (B,)."""
        return (self.queries * (self.keys + sums)).sum(1) / (1 + counts)


def log_sum(own: Tensor, others: Tensor) -> Tensor:
    """Log-sum-exp over the own score (B, 1) and the others (B, K); (B,)."""
    return torch.logaddexp(own[..., 0], others.logsumexp(-1))


def chosen_sums(chosen: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and number of the queue's rows that each anchor chooses: (B, K) bool, (K, D) -> (B, D), (B,)."""
    with torch.autocast(queue.device.type, enabled=False):
        weights = chosen.to(queue.dtype)
        return weights @ queue, weights.sum(1)

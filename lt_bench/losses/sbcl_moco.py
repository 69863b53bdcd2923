"""Subclass-balancing contrastive losses against a queue of past keys (Hou et al., ICCV 2023, large-image form)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Anchors(NamedTuple):
    """Queries (B, D), which have a gradient, their own keys (B, D) and the queue (K, D), all of unit length."""

    queries: Tensor
    keys: Tensor
    queue: Tensor

    def cosines(self) -> tuple[Tensor, Tensor]:
        """Cosines with the own key (B, 1) and with the queue (B, K), never in reduced precision."""
        dtype = torch.promote_types(self.queries.dtype, torch.float32)
        queries = self.queries.to(dtype)
        with torch.autocast(queries.device.type, enabled=False):
            return (queries * self.keys.to(dtype)).sum(1, keepdim=True), queries @ self.queue.to(dtype).T

    def attraction(self, sums: Tensor, counts: Tensor) -> Tensor:
        """Mean cosine with the own key and with positives whose sum is (B, D) and whose number is (B,); (B,)."""
        return (self.queries * (self.keys + sums)).sum(1) / (1 + counts)


def _log_sum(own: Tensor, others: Tensor) -> Tensor:
    """Log-sum-exp over the own score (B, 1) and the others (B, K); (B,)."""
    return torch.logaddexp(own[:, 0], others.logsumexp(1))


def _sums(chosen: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and number of the queue's rows that each anchor chooses: (B, K) bool, (K, D) -> (B, D), (B,)."""
    with torch.autocast(queue.device.type, enabled=False):
        weights = chosen.to(queue.dtype)
        return weights @ queue, weights.sum(1)


def draw_positives(labels: Tensor, queue_labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries of an anchor's class are drawn, with replacement: the one of rank floor(u * number) for every u.

    Ranks go by position in the queue. Shapes: labels (B,), queue_labels (K,) with -1 where there is no class, draws
    (k, B) in [0, 1); returns positions (k, B) and whether each counts (k, B): a repeated one does once, and none does
    where the queue has nothing of the class. Nothing is read by the host.
    """
    by_label = queue_labels.argsort(stable=True)
    ordered = queue_labels[by_label]
    first = torch.searchsorted(ordered, labels)
    number = torch.searchsorted(ordered, labels, right=True) - first
    ranks = torch.minimum((draws * number).long(), number - 1)  # rounding must not lead out of the class
    positions = by_label[(first + ranks).clamp(0, len(queue_labels) - 1)].sort(0).values
    new = torch.ones_like(positions, dtype=torch.bool)
    new[1:] = positions[1:] != positions[:-1]
    return positions, new & (number > 0)


def k_positive(anchors: Anchors, labels: Tensor, queue_labels: Tensor, draws: Tensor, temperature: float) -> Tensor:
    """Contrastive loss whose positives are the own key and up to k entries of the class, drawn by ``draws``.

    Shapes: labels (B,), queue_labels (K,), -1 where there is no class (negatives of every anchor), draws (k, B) uniform
    in [0, 1); returns a scalar, at least float32.
    Source: Kang et al., ICLR 2021 (KCL), as in the SBCL authors' code: drawn with replacement, repetitions count once.
    Deviation: none.
    """
    positions, counts = draw_positives(labels, queue_labels, draws)
    sums = (anchors.queue[positions] * counts[..., None]).sum(0)
    own, others = anchors.cosines()
    denominator = _log_sum(own / temperature, others / temperature)
    return (denominator - anchors.attraction(sums, counts.sum(0)) / temperature).mean()


def queue_subclass_balancing(
    anchors: Anchors,
    same_class: Tensor,
    same_subclass: Tensor,
    temperature: float,
    class_temperatures: Tensor,
    beta: float,
    base_temperature: float,
) -> Tensor:
    """Bi-granularity loss: attract the subclass, and more loosely the rest of the class at the class's temperature.

    Positives are always the own key too. The class term leaves the anchor's own subclass out of its softmax.
    Shapes: same_class and same_subclass (B, K) bool, class_temperatures (B,) of the anchors; returns a scalar, at least
    float32.
    Source: Hou et al., ICCV 2023, eq. (4), as in the authors' code for large images, where the class temperature is one
    constant.  Deviation: none.
    """
    own, others = anchors.cosines()
    near = anchors.attraction(*_sums(same_subclass, anchors.queue))
    far = anchors.attraction(*_sums(same_class & ~same_subclass, anchors.queue))
    sharpness = class_temperatures.to(own.dtype).reciprocal()
    far_scores = others * sharpness[:, None]
    # outside the graph: log-sum-exp gives these entries a zero gradient by itself
    far_scores.detach().masked_fill_(same_subclass, -torch.inf)
    near_term = _log_sum(own / temperature, others / temperature) - near / temperature
    far_term = _log_sum(own * sharpness[:, None], far_scores) - far * sharpness
    return temperature / base_temperature * near_term.mean() + beta * far_term.mean()

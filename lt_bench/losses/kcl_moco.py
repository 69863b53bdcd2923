"""Contrastive loss against a queue of past keys, of which every image has as many positives, drawn from its class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lt_bench.losses.kcl import distinct_ranks
from lt_bench.losses.queue import Anchors, chosen_sums

Sampling = Literal["distinct", "replacement", "first"]


def draw_positives(
    labels: Tensor, queue_labels: Tensor, draws: Tensor, sampling: Sampling = "replacement"
) -> tuple[Tensor, Tensor]:
    """Which entries of an anchor's class are drawn; ranks among them go by position in the queue.

    With ``replacement`` that of rank floor(u * number) for every u, and a repeated one counts once; ``distinct`` as in
    ``distinct_ranks``; ``first`` the first ones, whatever the draws are. Shapes: labels (B,), queue_labels (K,) with -1
    where there is no class, draws (k, B) in [0, 1); returns positions (k, B) and whether each counts (k, B): none does
    where the queue has nothing of the class. Nothing is read by the host.
    """
    by_label = queue_labels.argsort(stable=True)
    ordered = queue_labels[by_label]
    first = torch.searchsorted(ordered, labels)
    number = torch.searchsorted(ordered, labels, right=True) - first
    if sampling == "distinct":
        ranks, counts = distinct_ranks(number, draws, number.new_empty(0, len(number)))
    elif sampling == "first":
        ranks = torch.arange(len(draws), device=number.device)[:, None].expand(draws.shape)
        counts = ranks < number
    else:
        ranks = torch.minimum((draws * number).long(), number - 1)  # rounding must not lead out of the class
    positions = by_label[(first + ranks).clamp(0, len(queue_labels) - 1)]
    if sampling == "replacement":
        positions = positions.sort(0).values
        counts = torch.ones_like(positions, dtype=torch.bool)
        counts[1:] = positions[1:] != positions[:-1]
        counts &= number > 0
    return positions, counts


def positive_sums(
    queue: Tensor, labels: Tensor, queue_labels: Tensor, draws: Tensor, sampling: Sampling
) -> tuple[Tensor, Tensor]:
    """Sum (B, D) and number (B,) of the positives that anchors have in the queue (K, D): with k = 0 all of the class.

    Other shapes as in ``draw_positives``.
    """
    if not len(draws):
        return chosen_sums(labels[:, None] == queue_labels, queue)
    positions, counts = draw_positives(labels, queue_labels, draws, sampling)
    return (queue[positions] * counts[..., None]).sum(0), counts.sum(0)


def k_positive(
    anchors: Anchors,
    labels: Tensor,
    queue_labels: Tensor,
    draws: Tensor,
    temperature: float,
    sampling: Sampling = "replacement",
) -> Tensor:
    """Contrastive loss whose positives are the own key and up to k entries of the class, drawn by ``draws``.

    Shapes: labels (B,), queue_labels (K,), -1 where there is no class (negatives of every anchor), draws (k, B) uniform
    in [0, 1), k = 0 for the whole class; returns a scalar, at least float32.
    Source: Kang et al., ICLR 2021 (KCL); distinct positives as in the authors' code of TSC, with replacement as in that
    of SBCL, the first ones for the top-k of KCL's own, whose rule among equals is a device's.  Deviation: none.
    """
    sums, counts = positive_sums(anchors.queue, labels, queue_labels, draws, sampling)
    return (anchors.denominators(temperature) - anchors.attraction(sums, counts) / temperature).mean()

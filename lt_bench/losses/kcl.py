"""Contrastive loss in which every image has as many positives, drawn from its class in the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.losses.contrast import by_view, log_denominators, positive_sums, renumbered


def distinct_ranks(number: Tensor, draws: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks that are drawn one after the other out of ``number`` entries, none of them twice.

    In every turn the entries that are left, in ascending order, are numbered from 0, and that of floor(draw * how many
    are left) is taken. Shapes: number (A,), draws (k, A) in [0, 1), ``taken`` (m, A) ranks that are taken beforehand,
    all different; returns ranks (k, A) and whether each counts (k, A): none does where nothing is left.
    Source: Li et al., CVPR 2022, authors' code.  Deviation: none. Nothing is read by the host.
    """
    gone, found, counts = taken.sort(0).values, [], []
    for draw in draws.unbind(0):
        left = number - len(gone)
        rank = torch.minimum((draw * left).long(), left - 1)  # rounding must not lead out of the class
        steps = torch.arange(len(gone), device=gone.device)[:, None]
        rank = rank + (gone - steps <= rank).sum(0)  # every entry that is gone before it moves it up by one
        found.append(rank)
        counts.append(left > 0)
        gone = torch.cat([gone, rank[None]]).sort(0).values
    return torch.stack(found), torch.stack(counts)


def draw_partners(groups: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of an anchor's group, but for itself and its image's other view, that are drawn for it.

    Shapes: groups (B,) of the images, draws (k, 2 B): anchors are all images' first views, then all second ones;
    returns rows (k, 2 B) and whether each counts (k, 2 B).
    """
    both = groups.repeat(2)
    by_group = both.argsort(stable=True)
    ordered = both[by_group]
    first = torch.searchsorted(ordered, both)
    number = torch.searchsorted(ordered, both, right=True) - first
    own = by_group.argsort() - first
    partner = (own + number // 2) % number
    ranks, counts = distinct_ranks(number, draws, torch.stack([own, partner]))
    return by_group[(first + ranks).clamp(0, len(both) - 1)], counts


def attractions(rows: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Per row, the sum of its inner products with its positives, and their number.

    Positives are the image's other view and those that are drawn, or with k = 0 everything of the class.
    Shapes: rows (2 B, D), labels (B,), draws (k, 2 B); returns (2 B,) and (2 B,).
    """
    images, groups = len(labels), renumbered(labels)
    if not len(draws):
        return positive_sums(rows, groups.repeat(2), len(rows), images)
    positions, counts = draw_partners(groups, draws)
    # index_select, whose gradient adds in the same order every time
    drawn = rows.index_select(0, positions.flatten()).unflatten(0, positions.shape)
    sums = rows.roll(images, 0) + (drawn * counts[..., None]).sum(0)
    return (rows * sums).sum(1), 1 + counts.sum(0)


def k_positives_in_batch(features: Tensor, labels: Tensor, draws: Tensor, temperature: float) -> Tensor:
    """Contrastive loss whose positives are an image's other view and up to k others of its class.

    All other views are in the denominator. Shapes: features (B, 2, D) unit length, labels (B,), draws (k, 2 B) uniform
    in [0, 1); k = 0 is the supervised contrastive loss. Returns a scalar, at least float32.
    Source: Kang et al., ICLR 2021 (KCL), in the batch as Li et al., CVPR 2022.  Deviation: their code multiplies by
    temperature / 0.07.
    """
    rows = by_view(features.to(torch.promote_types(features.dtype, torch.float32)))
    sums, counts = attractions(rows, labels, draws)
    return (log_denominators(rows, len(rows), temperature) - sums / (temperature * counts)).mean()

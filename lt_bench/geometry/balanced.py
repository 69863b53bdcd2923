"""Assignment of samples to centres of limited room: globally best pair first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lt_bench.geometry.kmeans import cosine


def _descending(values: np.ndarray) -> np.ndarray:
    """Positions of values (k,) from the largest to the smallest, of equal ones the first position first."""
    order = np.argsort(-values)  # not stable, but several times faster than a stable sort
    sorted_values = values[order]
    rank = np.zeros(len(values), dtype=np.int64)
    rank[1:] = np.cumsum(sorted_values[1:] != sorted_values[:-1])
    return np.sort(rank * len(values) + order) % len(values)


def greedy_assignment(scores: Tensor, capacity: int) -> Tensor:
    """Take pairs by descending score while sample and centre are free; a centre closes at ``capacity`` samples.

    Of equal scores the lower centre goes first, then the lower sample.
    Shapes: scores (m, n), on any device; returns (n,) int64 centres, -1 where every centre was closed.
    Source: Hou et al., ICCV 2023, Algorithm 1.  Deviation: none; one sort, then integers on the host.
    """
    clusters, count = scores.shape
    centers, samples = np.divmod(_descending(scores.detach().cpu().reshape(-1).numpy()), count)
    owner, room = [-1] * count, [capacity] * clusters
    while len(samples):
        for center, sample in zip(centers[:count].tolist(), samples[:count].tolist(), strict=True):
            if owner[sample] < 0 and room[center]:
                owner[sample] = center
                room[center] -= 1
        # every pair just seen is dead, and most of those to come: drop them at once
        alive = (np.array(owner) < 0)[samples] & (np.array(room) > 0)[centers]
        centers, samples = centers[alive], samples[alive]
    return torch.tensor(owner, dtype=torch.int64, device=scores.device)


def one_pass(scores: Tensor) -> Tensor:
    """Greedy assignment with room for ceil(n / m) samples in every centre, scores (m, n) -> (n,).

    Source: Hou et al., ICCV 2023, Algorithm 1, where the room is an upper bound.  Deviation: none.
    """
    clusters, count = scores.shape
    return greedy_assignment(scores, -(-count // clusters))


def two_pass(scores: Tensor) -> Tensor:
    """Greedy assignment of floor(n / m) samples to every centre, then of the rest, at most one more to each.

    Sizes differ by at most one. Shapes: scores (m, n), n >= m; returns (n,) int64.
    Source: the SBCL authors' code.  Deviation: none.
    """
    clusters, count = scores.shape
    labels = greedy_assignment(scores, count // clusters)
    rest = (labels < 0).nonzero()[:, 0]
    labels[rest] = greedy_assignment(scores[:, rest], 1)
    return labels


def row_normalized_cosine(samples: Tensor, centers: Tensor) -> Tensor:
    """Cosines (m, n) over the sum of their row, which turns the order of a row around when the sum is negative.

    Source: the SBCL authors' code.  Deviation: none.
    """
    scores = cosine(samples, centers)
    return scores / scores.sum(1, keepdim=True)

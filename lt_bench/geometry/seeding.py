"""Start samples of k-means."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lt_bench.geometry.kmeans import check_samples


def spread_starts(samples: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++: every next start is drawn with weight 1 - cosine to the nearest earlier one, clamped at 0.

    A start is never drawn twice; at first, and where no other sample has weight left (duplicates), all are alike.
    Shapes: samples (n, d) unit length; returns (m,) int64. One uniform number is drawn for every start.
    Source: Arthur & Vassilvitskii, SODA 2007.  Deviation: cosine distance, not squared distance.
    Raises ValueError for samples that are not finite, or fewer than clusters.
    """
    check_samples(samples, clusters)
    uniform = torch.rand(clusters, generator=generator, device=generator.device, dtype=torch.float64).to(samples.device)
    free = torch.ones(len(samples), device=samples.device, dtype=torch.float64)
    distance, weights = free * torch.inf, free * 0
    starts = []
    for number in uniform:
        mass = torch.where(weights.any(), weights, free).cumsum(0)
        start = torch.searchsorted(mass, number * mass[-1], right=True)
        starts.append(start)
        free = free.index_fill(0, start, 0)
        distance = torch.minimum(distance, 1 - samples @ samples[start])
        weights = distance.clamp(min=0) * free
    return torch.stack(starts)


def inverse_cosine_starts(samples: Tensor, clusters: int) -> Tensor:
    """k-means++ with several candidates for every start and 1 / cosine in the place of a distance, seeded with 0.

    No distance: a chosen sample keeps weight 1, and negative cosines give negative weights, so starts may repeat.
    Shapes: samples (n, d) unit length; returns (m,) int64.
    Source: the SBCL authors' code.  Deviation: none known; kept for comparison with it.
    Raises ValueError for samples that are not finite, or fewer than clusters.
    """
    check_samples(samples, clusters)
    generator = torch.Generator().manual_seed(0)
    rows = samples.cpu()
    candidates = 2 + int(math.log(clusters))
    starts = [torch.randint(len(rows), (1,), generator=generator)]
    weights = 1 / (rows @ rows[starts[0]].T)[:, 0]
    for _ in range(1, clusters):
        numbers = torch.rand(candidates, generator=generator) * weights.sum()
        drawn = torch.searchsorted(weights.cumsum(0), numbers).clamp(max=len(rows) - 1)
        updated = torch.minimum(weights, 1 / (rows[drawn] @ rows.T))
        best = updated.sum(1).argmin()
        weights = updated[best]
        starts.append(drawn[best : best + 1])
    return torch.cat(starts).to(samples.device)

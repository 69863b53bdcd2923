"""Cosine k-means from given start samples, with any rule that assigns samples to centres."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Clusters(NamedTuple):
    """Labels (n,) int64, centres (m, d) (means of their members, not unit length), iterations done."""

    labels: Tensor
    centers: Tensor
    iterations: int


def check_samples(samples: Tensor, clusters: int) -> None:
    """ValueError unless there are finite samples (n, d) enough for the clusters."""
    if not 1 <= clusters <= len(samples):
        raise ValueError(f"expected between 1 and {len(samples)} clusters for {len(samples)} samples, found {clusters}")
    if not bool(samples.sum().isfinite()):  # of unit vectors the sum is finite exactly when every entry is
        raise ValueError("expected finite samples to cluster, found NaN or infinity")


def cosine(samples: Tensor, centers: Tensor) -> Tensor:
    """Cosine of every unit-length sample (n, d) with every centre (m, d) of any length, (m, n)."""
    return F.normalize(centers, dim=1) @ samples.T


def nearest(scores: Tensor) -> Tensor:
    """The best centre of every sample, scores (m, n) -> (n,); of equal ones the first."""
    return scores.max(0).indices  # several times faster than argmax(0) on a CPU


def lloyd(
    samples: Tensor,
    starts: Tensor,
    assign: Callable[[Tensor], Tensor],
    iterations: int,
    score: Callable[[Tensor, Tensor], Tensor] = cosine,
    refill: torch.Generator | None = None,
    tolerance: float = 1e-3,
) -> Clusters:
    """Alternate assignment and means until (sum of the centres' shifts)^2 < tolerance, or for ``iterations`` rounds.

    A centre without members keeps its place, or jumps to a random sample when ``refill`` is a generator.
    Shapes: samples (n, d) unit length, starts (m,) indices of the first centres; ``score`` maps samples and centres to
    (m, n), ``assign`` maps scores to (n,) centres.
    Source: stop rule and unnormalised means of the SBCL authors' code.  Deviation: none.
    Raises ValueError for samples that are not finite, or fewer than centres.
    """
    check_samples(samples, len(starts))
    centers = samples[starts]
    members = torch.cat((samples, samples.new_ones(len(samples), 1)), 1)  # the last column counts
    done, moving = 0, True
    while moving and done < iterations:
        labels = assign(score(samples, centers))
        sums = members.new_zeros(len(centers), members.shape[1]).index_add_(0, labels, members)
        counts = sums[:, -1:]
        moved = torch.where(counts > 0, sums[:, :-1] / counts, centers)
        if refill is not None:
            moved = _refilled(moved, counts[:, 0] == 0, samples, refill)
        shift = torch.linalg.vector_norm(moved - centers, dim=1).sum()
        centers, done, moving = moved, done + 1, float(shift) ** 2 >= tolerance
    return Clusters(labels, centers, done)


def _refilled(centers: Tensor, empty: Tensor, samples: Tensor, generator: torch.Generator) -> Tensor:
    """Centres (m, d) with a random sample in every ``empty`` (m,) place; nothing is drawn when none is empty."""
    places = empty.nonzero()[:, 0]
    if len(places) == 0:
        return centers
    drawn = torch.randint(len(samples), (len(places),), generator=generator, device=generator.device)
    return centers.index_copy(0, places, samples[drawn.to(samples.device)])

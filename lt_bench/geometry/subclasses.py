"""Subclasses of a class: how many, where they start, and which images belong to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.geometry.balanced import one_pass, row_normalized_cosine, two_pass
from lt_bench.geometry.kmeans import Clusters, check_samples, cosine, lloyd, nearest
from lt_bench.geometry.seeding import inverse_cosine_starts, spread_starts


class Rule(NamedTuple):
    """What tells one clustering rule from another: scores, assignment, the largest number of iterations."""

    score: Callable[[Tensor, Tensor], Tensor]
    assign: Callable[[Tensor], Tensor]
    iterations: int


RULES = {
    "balanced": Rule(cosine, two_pass, 50),
    "balanced_paper": Rule(cosine, one_pass, 50),
    "balanced_official": Rule(row_normalized_cosine, two_pass, 50),
    "kmeans_official": Rule(cosine, nearest, 35),
}


def _rule(name: str) -> Rule:
    if name not in RULES:
        raise SettingError("rule", f"one of {', '.join(RULES)}", name, "balanced")
    return RULES[name]


def num_subclasses(counts: Tensor, minimum_size: int) -> Tensor:
    """Subclasses per class: how often the rarest class, or ``minimum_size`` if larger, fits into the class; at least 1.

    Shapes: counts (C,) int64; returns (C,) int64. Raises SettingError for a minimum size below 1.
    Source: Hou et al., ICCV 2023, eq. (3).  Deviation: rounded down, as in the authors' code.
    """
    if minimum_size < 1:
        raise SettingError("minimum_size", "at least 1 image", minimum_size, 10)
    return (counts // counts.min().clamp(min=minimum_size)).clamp(min=1)


def draw_starts(
    samples: Tensor, clusters: int, rule: str, generator: torch.Generator, numpy_state: np.random.RandomState | None
) -> Tensor:
    """Indices (m,) of the start samples by the seeding that belongs to a rule.

    "kmeans_official" draws from ``numpy_state``, "balanced_official" from a generator of its own, the others from
    ``generator``. Raises SettingError for an unknown rule, ValueError for a missing ``numpy_state``, samples that are
    not finite or fewer than clusters.
    """
    _rule(rule)
    if rule == "balanced_official":
        return inverse_cosine_starts(samples, clusters)
    if rule != "kmeans_official":
        return spread_starts(samples, clusters, generator)
    if numpy_state is None:
        raise ValueError("rule 'kmeans_official' draws its starts from numpy: pass numpy_state=RandomState(seed)")
    check_samples(samples, clusters)
    return torch.from_numpy(numpy_state.choice(len(samples), clusters, replace=False)).to(samples.device)


def cluster(samples: Tensor, starts: Tensor, rule: str, generator: torch.Generator) -> Clusters:
    """Cluster samples (n, d) of unit length from start samples (m,) by one of ``RULES``.

    "balanced": sizes differ by at most one. "balanced_paper": sizes up to ceil(n / m). "balanced_official": as
    "balanced", on row-normalised cosines. "kmeans_official": any sizes; an empty centre jumps to a sample drawn from
    ``generator``, which no other rule uses.
    Source: Hou et al., ICCV 2023, Algorithm 1 ("balanced_paper"); the authors' code (the two "official" rules).
    Deviation: "balanced" is the authors' two-pass assignment on plain cosines.
    Raises SettingError for an unknown rule, ValueError for samples that are not finite or fewer than starts.
    """
    score, assign, iterations = _rule(rule)
    refill = generator if rule == "kmeans_official" else None
    return lloyd(samples, starts, assign, iterations, score, refill)


def update_subclasses(
    embeddings: Tensor,
    labels: Tensor,
    clusters_per_class: Tensor,
    rule: str,
    generator: torch.Generator,
    numpy_state: np.random.RandomState | None = None,
) -> Tensor:
    """A subclass id for every image, unique over all classes: those of class 0 first, then those of class 1, ...

    Classes are clustered in ascending order, each with its images in the order given; a class of one subclass draws
    nothing. The balanced rules compute on the host.
    Shapes: embeddings (N, d) unit length, labels (N,) in any order, clusters_per_class (C,); returns (N,) int64.
    Source: Hou et al., ICCV 2023, Algorithm 2.  Deviation: images are grouped by label, not by position.
    Raises SettingError for an unknown rule, ValueError for a missing ``numpy_state``, embeddings that are not finite,
    or a class with fewer images than subclasses.
    """
    _rule(rule)
    samples = embeddings.detach().to(torch.promote_types(embeddings.dtype, torch.float32))
    samples = samples if rule == "kmeans_official" else samples.cpu()
    counts = torch.bincount(labels, minlength=len(clusters_per_class)).tolist()
    members_of = labels.argsort(stable=True).split(counts)
    ids = (clusters_per_class.cumsum(0) - clusters_per_class)[labels]
    for members, clusters in zip(members_of, clusters_per_class.tolist(), strict=True):
        if clusters > 1:
            rows = samples[members.to(samples.device)]
            starts = draw_starts(rows, clusters, rule, generator, numpy_state)
            ids[members] += cluster(rows, starts, rule, generator).labels.to(ids.device)
    return ids

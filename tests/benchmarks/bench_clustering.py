"""SBCL's cluster update: plain k-means against its broadcast form, balanced assignment against the loop over all pairs.

The last part is an update of ImageNet-LT's size, beside the loop over all pairs on every fiftieth class.

Run: python tests/benchmarks/bench_clustering.py [--tiny]
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from harness import Comparison, Measured, Side, compare, script
from torch import Tensor

from lt_bench.geometry.balanced import two_pass
from lt_bench.geometry.kmeans import cosine, lloyd
from lt_bench.geometry.subclasses import draw_starts, num_subclasses, update_subclasses

WIDTH = 128
KMEANS_GOAL, ASSIGNMENT_GOAL = 3.0, 15.0
SECONDS_LIMIT, BYTES_LIMIT = 60.0, 2 * 2**30  # of the update of ImageNet-LT's size
SAME = 0.99  # of the images, in the plain update
EVERY = 50  # the loop over all pairs gets every so manieth class


def broadcast_kmeans(samples: Tensor, starts: Tensor) -> Tensor:
    """Cosine k-means by n x m x d broadcast products, the means taken in a loop over the centres."""
    centers = samples[starts]
    for _ in range(35):
        unit = samples[:, None] / samples[:, None].norm(dim=2, keepdim=True)
        unit_centers = centers[None] / centers[None].norm(dim=2, keepdim=True)
        labels = (1 - (unit * unit_centers).sum(2)).argmin(1)
        previous = centers.clone()
        for center in range(len(centers)):
            members = samples[labels == center]
            if len(members) == 0:
                members = samples[torch.randint(len(samples), (1,))]
            centers[center] = members.mean(0)
        if (centers - previous).norm(dim=1).sum().item() ** 2 < 1e-3:
            break
    return labels


def broadcast_update(
    embeddings: Tensor, labels: Tensor, clusters_per_class: Tensor, state: np.random.RandomState
) -> Tensor:
    """Subclass ids of a whole set sorted by class, class after class, with ``broadcast_kmeans``."""
    ids = (clusters_per_class.cumsum(0) - clusters_per_class)[labels]
    first = 0
    for size, clusters in zip(torch.bincount(labels).tolist(), clusters_per_class.tolist(), strict=True):
        if clusters > 1:
            starts = torch.from_numpy(state.choice(size, clusters, replace=False))
            ids[first : first + size] += broadcast_kmeans(embeddings[first : first + size], starts)
        first += size
    return ids


def pair_loop(scores: Tensor) -> Tensor:
    """Two-pass balanced assignment, every pair of centre and sample read from the tensors in turn."""
    clusters, count = scores.shape
    order = scores.reshape(-1).argsort(descending=True, stable=True)
    labels = torch.full((count,), -1)
    sizes = [0] * clusters
    for limit in (count // clusters, count // clusters + 1):
        for pair in order if (labels < 0).any() else ():
            center, sample = divmod(pair.item(), count)
            if labels[sample].item() < 0 and sizes[center] < limit:
                labels[sample] = center
                sizes[center] += 1
    return labels


def long_tailed_counts(classes: int, largest: int) -> Tensor:
    """Images per class with imbalance factor 100; 100 classes of at most 500 are CIFAR-100-LT's 10,847."""
    return torch.tensor([int(largest * 0.01 ** (k / (classes - 1.0))) for k in range(classes)])


def embeddings_of(counts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Unit-length embeddings (N, 128) around a centre for every class, sorted by class, and labels (N,)."""
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    means = torch.randn(len(counts), WIDTH, generator=generator)
    noise = torch.randn(len(labels), WIDTH, generator=generator)
    return F.normalize(means[labels] + 0.6 * noise, dim=1), labels


def imagenet_counts() -> Tensor:
    """Sizes of 1,000 classes on a power curve from 1,280 to 5, 115,846 in all, as many as ImageNet-LT has."""
    tail = 1 - torch.arange(1000, dtype=torch.float64) / 999
    return (5 + 1275 * tail**10.555915831642704).round().long()


def pair_loop_update(embeddings: Tensor, labels: Tensor, clusters: Tensor, generator: torch.Generator) -> Tensor:
    """``update_subclasses`` with rule "balanced" for embeddings sorted by class, with ``pair_loop``."""
    ids = (clusters.cumsum(0) - clusters)[labels]
    for label, count in enumerate(clusters.tolist()):
        if count > 1:
            rows = embeddings[labels == label]
            starts = draw_starts(rows, count, "balanced", generator, None)
            ids[labels == label] += lloyd(rows, starts, pair_loop, 50).labels
    return ids


def large_update(counts: Tensor) -> Iterator[Comparison]:
    """An update of ImageNet-LT's size, where every cluster must have its size, and every fiftieth class of it."""
    embeddings, labels = embeddings_of(counts, torch.Generator().manual_seed(1))
    clusters = num_subclasses(counts, 20)
    start = time.process_time()
    ids = update_subclasses(embeddings, labels, clusters, "balanced", torch.Generator().manual_seed(2))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10  # KiB on Linux
    owner = torch.arange(len(counts)).repeat_interleave(clusters)
    sizes, floor = torch.bincount(ids, minlength=len(owner)), (counts // clusters)[owner]
    valid = bool((owner[ids] == labels).all() and ((sizes == floor) | (sizes == floor + 1)).all())
    row = f"balanced update of {len(labels):,} × {WIDTH}, ImageNet-LT's size; memory is that of the process"
    for unit, value, limit in (("CPU s", seconds, SECONDS_LIMIT), ("B", peak, BYTES_LIMIT)):
        title = f"balanced update, {len(labels)} x {WIDTH}, {int((clusters > 1).sum())} of {len(counts)} classes split"
        yield Comparison(title, unit, None, Measured.of("update_subclasses", value), valid, limit=limit, row=row)

    part = labels % EVERY == 0
    few = embeddings[part], labels[part] // EVERY, clusters[::EVERY]
    theirs = Side("loop over all pairs", lambda: pair_loop_update(*few, torch.Generator().manual_seed(2)))
    ours = Side("update_subclasses", lambda: update_subclasses(*few, "balanced", torch.Generator().manual_seed(2)))
    title = f"every {EVERY}th class of it"
    yield from compare(title, [theirs], ours, torch.equal, rounds=1, row=title)


def plain_update(embeddings: Tensor, labels: Tensor, clusters: Tensor, rounds: int) -> Iterator[Comparison]:
    """Plain k-means of all classes; where means round differently an image may change its cluster."""

    def ours() -> Tensor:
        state, generator = np.random.RandomState(0), torch.Generator().manual_seed(0)
        return update_subclasses(embeddings, labels, clusters, "kmeans_official", generator, state)

    def broadcast() -> Tensor:
        return broadcast_update(embeddings, labels, clusters, np.random.RandomState(0))

    yield from compare(
        f"plain k-means update, {len(labels)} x {WIDTH}, {int(clusters.sum())} clusters",
        [Side("broadcast products, loop over centres", broadcast, KMEANS_GOAL)],
        Side("update_subclasses", ours),
        lambda mine, theirs: (mine == theirs).float().mean().item() >= SAME,
        rounds,
        f"plain k-means update, {len(labels):,} × {WIDTH}, CIFAR-100-LT's size",
    )


def assignment(samples: Tensor, count: int, rounds: int) -> Iterator[Comparison]:
    """One balanced assignment of the largest class."""
    chosen = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:count]
    scores = cosine(samples, samples[chosen])
    title = f"balanced assignment, {len(samples)} samples, {count} centres"
    theirs = Side("loop over all pairs", lambda: pair_loop(scores), ASSIGNMENT_GOAL)
    yield from compare(title, [theirs], Side("two_pass", lambda: two_pass(scores)), torch.equal, rounds, title)


def measure(tiny: bool) -> Iterator[Comparison]:
    """The large update first, because its peak is that of the whole process."""
    large = imagenet_counts()
    yield from large_update(large[:: EVERY // 2] // 8 + 1 if tiny else large)
    counts = long_tailed_counts(10, 200) if tiny else long_tailed_counts(100, 500)
    embeddings, labels = embeddings_of(counts, torch.Generator().manual_seed(0))
    clusters = num_subclasses(counts, 10)
    rounds = 1 if tiny else 7
    yield from plain_update(embeddings, labels, clusters, rounds)
    yield from assignment(embeddings[: int(counts[0])], int(clusters[0]), rounds)


if __name__ == "__main__":
    sys.exit(script(measure))

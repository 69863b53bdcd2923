"""SBCL's cluster update: plain k-means against its broadcast form, balanced assignment against the loop over all pairs.

The last part is an update of ImageNet-LT's size, beside the loop over all pairs on every fiftieth class.

Run: python tests/benchmarks/bench_clustering.py    (exit status 1 when a goal is missed)
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from harness import alternate, describe, report
from torch import Tensor

from lt_bench.geometry.balanced import two_pass
from lt_bench.geometry.kmeans import cosine, lloyd
from lt_bench.geometry.subclasses import draw_starts, num_subclasses, update_subclasses

WIDTH, CLASSES = 128, 100
KMEANS_GOAL, ASSIGNMENT_GOAL = 3.0, 15.0
SECONDS_GOAL, GIB_GOAL = 60.0, 2.0  # of the update of ImageNet-LT's size
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


def long_tailed_embeddings(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """CIFAR-100-LT with imbalance factor 100: embeddings (10847, 128) sorted by class, labels, class counts."""
    counts = torch.tensor([int(500 * 0.01 ** (k / (CLASSES - 1.0))) for k in range(CLASSES)])
    return *embeddings_of(counts, generator), counts


def embeddings_of(counts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Unit-length embeddings (N, 128) around a centre for every class, sorted by class, and labels (N,)."""
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    means = torch.randn(len(counts), WIDTH, generator=generator)
    noise = torch.randn(len(labels), WIDTH, generator=generator)
    return F.normalize(means[labels] + 0.6 * noise, dim=1), labels


def imagenet_counts() -> Tensor:
    """1,000 class sizes on a power curve from 1,280 to 5, 115,846 in all, as many as ImageNet-LT has."""
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


def large_update() -> bool:
    """An update of ImageNet-LT's size: print its cost, and whether it meets the goals and every cluster its size."""
    counts = imagenet_counts()
    embeddings, labels = embeddings_of(counts, torch.Generator().manual_seed(1))
    clusters = num_subclasses(counts, 20)
    split = int((clusters > 1).sum())
    print(
        f"\n{len(labels)} x {WIDTH}, {split} classes of {len(counts)} split into {int(clusters[:split].sum())} clusters"
    )
    start = time.perf_counter()
    ids = update_subclasses(embeddings, labels, clusters, "balanced", torch.Generator().manual_seed(2))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    owner = torch.arange(len(counts)).repeat_interleave(clusters)
    sizes, floor = torch.bincount(ids, minlength=len(owner)), (counts // clusters)[owner]
    valid = bool((owner[ids] == labels).all() and ((sizes == floor) | (sizes == floor + 1)).all())
    met = seconds <= SECONDS_GOAL and peak <= GIB_GOAL
    print(
        f"  {seconds:.2f} s (goal {SECONDS_GOAL:g}), peak of the process {peak:.2f} GiB (goal {GIB_GOAL:g}), ", end=""
    )
    print(f"{'met' if met else 'MISSED'}; every image in a cluster of its class, sizes alike: {valid}")

    part = labels % EVERY == 0
    few = embeddings[part], labels[part] // EVERY, clusters[::EVERY]
    ours = {
        "loop over all pairs": lambda: pair_loop_update(*few, torch.Generator().manual_seed(2)),
        "update_subclasses": lambda: update_subclasses(*few, "balanced", torch.Generator().manual_seed(2)),
    }
    same = bool((ours["loop over all pairs"]() == ours["update_subclasses"]()).all())
    report(f"every {EVERY}th class; {'identical' if same else 'DIFFERENT'} clusters", alternate(ours, 1), *ours)
    return met and valid and same


def main() -> int:
    """Compare, print, and return the exit status."""
    torch.set_num_threads(1)
    print(describe())
    generator = torch.Generator().manual_seed(0)
    embeddings, labels, counts = long_tailed_embeddings(generator)
    clusters = num_subclasses(counts, 10)

    def ours() -> Tensor:
        state = np.random.RandomState(0)
        return update_subclasses(embeddings, labels, clusters, "kmeans_official", generator, state)

    def broadcast() -> Tensor:
        return broadcast_update(embeddings, labels, clusters, np.random.RandomState(0))

    agreement = (ours() == broadcast()).float().mean().item()
    print(f"\n{len(labels)} x {WIDTH}, {int(clusters.sum())} clusters; {agreement:.2%} of the images agree")
    seconds = alternate({"broadcast products, loop over centres": broadcast, "update_subclasses": ours})
    title = "plain k-means update of the whole set"
    kmeans = report(title, seconds, "broadcast products, loop over centres", "update_subclasses", KMEANS_GOAL)

    samples = embeddings[: int(counts[0])]
    scores = cosine(samples, samples[torch.randperm(len(samples), generator=generator)[: int(clusters[0])]])
    identical = bool((pair_loop(scores) == two_pass(scores)).all())
    print(f"\nassignments {'identical' if identical else 'DIFFER'}")
    seconds = alternate({"loop over all pairs": lambda: pair_loop(scores), "two_pass": lambda: two_pass(scores)})
    title = f"balanced assignment, {scores.shape[1]} samples, {scores.shape[0]} centres"
    assignment = report(title, seconds, "loop over all pairs", "two_pass", ASSIGNMENT_GOAL)

    balanced = {"balanced": lambda: update_subclasses(embeddings, labels, clusters, "balanced", generator)}
    print(f"\nbalanced update of the whole set: {min(alternate(balanced, rounds=2)['balanced']):.2f} s")
    large = large_update()
    return 0 if identical and large and kmeans >= KMEANS_GOAL and assignment >= ASSIGNMENT_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())

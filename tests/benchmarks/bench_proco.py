"""One view of ProCo with its estimation, forward and backward, against the authors' form written out.

Run: python tests/benchmarks/bench_proco.py [--tiny]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from harness import Comparison, Side, compare_losses, script
from torch import Tensor

from lt_bench.geometry.vmf import MAX_KAPPA, mean_direction_and_kappa, random_means, update_means
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.losses.proco import contrastive_logits

GOAL = 10.0
TEMPERATURE = 0.1


class Statistics:
    """Two sets of means and counts, as after an epoch: every class has been seen."""

    def __init__(self, classes: int, dim: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.means = torch.stack([random_means(classes, dim, generator) for _ in range(2)])
        self.counts = torch.full((2, classes), 50.0)


def broadcast_estimate(mean: Tensor, count: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """New mean and count of every class by N x C x D temporaries."""
    classes, dim = mean.shape
    members = F.one_hot(labels, classes).to(features.dtype)[:, :, None].expand(-1, -1, dim)
    sizes = members.sum(0)
    batch_means = (features[:, None].expand(-1, classes, -1) * members).sum(0) / sizes.clamp(min=1)
    weights = sizes / (sizes + count[:, None]).clamp(min=1)
    return mean * (1 - weights) + batch_means * weights, count + sizes[:, 0]


class MillerRatio(torch.autograd.Function):
    """log I_nu(x) - nu log x by a downward recurrence that reads, at every order, whether it must be rescaled."""

    @staticmethod
    def forward(ctx, x, order):
        wide = x.double()
        current, above, scale = torch.ones_like(wide), torch.zeros_like(wide), torch.zeros_like(wide)
        for k in range(2 * order, 0, -1):
            current, above = above + 2 * k / wide * current, current
            if bool((current > 1e250).any()):
                factor = current.clone()
                current, above, scale = current / factor, above / factor, scale + factor.log()
            if k == order + 1:
                value, ratio = current.log() + scale, above / current
        value = value - current.log() - scale + torch.special.i0e(wide).log() + wide - order * x.log()
        ctx.save_for_backward(ratio.clamp(max=1))
        return value

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None


def written_out(statistics: Statistics, features: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
    """Estimation, logits and loss as the authors' equations read, with the recurrence in double precision."""
    with torch.no_grad():
        for one in (0, 1):
            mean, count = broadcast_estimate(statistics.means[one], statistics.counts[one], features, labels)
            statistics.means[one], statistics.counts[one] = mean, count
        mean = statistics.means[0]
        lengths = mean.norm(dim=1)
        kappa = mean.shape[1] * lengths / (1 - lengths**2)
        kappa = torch.where((kappa > MAX_KAPPA) | (kappa < 0), MAX_KAPPA, kappa)
    order = mean.shape[1] // 2 - 1
    natural = kappa[:, None] * F.normalize(mean, dim=1)
    moved = (natural[None] + features[:, None] / TEMPERATURE).norm(dim=2)
    logits = MillerRatio.apply(moved, order) - MillerRatio.apply(kappa, order)
    return F.cross_entropy(logits + prior, labels)


def ours(statistics: Statistics, features: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
    """The same by the functions of the method."""
    update_means(statistics.means, statistics.counts, features.detach(), labels)
    directions, kappa = mean_direction_and_kappa(statistics.means[0])
    return logit_adjusted_cross_entropy(
        contrastive_logits(features, directions, kappa, TEMPERATURE), labels, prior, tau=1.0
    )


def view(size: int, classes: int, dim: int, goal: float | None, rounds: int) -> Iterator[Comparison]:
    """One view, with its gradients; each side has statistics of its own, which every call moves."""
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(size, dim, generator=generator), dim=1).requires_grad_()
    labels = torch.randint(classes, (size,), generator=generator)
    prior = log_prior(torch.arange(classes) + 1)
    known = [Statistics(classes, dim) for _ in range(2)]
    yield from compare_losses(
        f"ProCo, one view with estimation, {size} features x {classes} classes x {dim}",
        [Side("the authors' recurrence", lambda: written_out(known[0], features, labels, prior), goal)],
        Side("lt_bench", lambda: ours(known[1], features, labels, prior)),
        (features,),
        rounds,
        rtol=1e-3,
        row=f"ProCo, one view with estimation, {size} features × {classes} classes × {dim}",
    )


def measure(tiny: bool) -> Iterator[Comparison]:
    """CIFAR-100-LT's shape, where the goal stands, and ImageNet-LT's."""
    if tiny:
        yield from view(64, 10, 128, None, rounds=1)
    else:
        yield from view(256, 100, 128, GOAL, rounds=31)
        yield from view(32, 1000, 1024, None, rounds=7)


if __name__ == "__main__":
    sys.exit(script(measure))

"""Time, peak memory and kernels of the PaCo loss against its equations written with masks, and the momentum update.

Run: python tests/benchmarks/bench_paco.py    (exit status 1 when a goal is missed)
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import OpCount, compare_losses, describe
from torch import Tensor, nn

from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.models.heads import ProjectionHead
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.resnet_cifar import resnet32_cifar

BATCH, QUEUE, WIDTH, CLASSES = 512, 1024, 32, 100
TEMPERATURE, ALPHA = 0.05, 0.01
TIME_GOAL, MEMORY_GOAL, KERNEL_GOAL = 1.5, 1.6, 1


def masked_equations(logits: Tensor, embeddings: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
    """The loss as its equations read: all scores in one matrix, and masks of its size for weights and denominator."""
    anchors, classes = logits.shape
    weights = ALPHA * (labels[:anchors, None] == labels).float()
    others = torch.ones_like(weights).fill_diagonal_(0)
    weights = torch.cat([F.one_hot(labels[:anchors], classes).float(), weights * others], 1)
    allowed = torch.cat([torch.ones_like(logits), others], 1)
    scores = torch.cat([logits + prior, embeddings[:anchors] @ embeddings.T / TEMPERATURE], 1)
    scores = scores - scores.max(1, keepdim=True).values.detach()
    log_probability = scores - torch.log((torch.exp(scores) * allowed).sum(1, keepdim=True))
    return -((weights * log_probability).sum(1) / weights.sum(1)).mean()


def long_tailed_batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (512, 100), embeddings of 512 queries, their keys and a queue, labels with imbalance factor 100, prior."""
    counts = (500 * 0.01 ** (torch.arange(CLASSES) / (CLASSES - 1))).floor()
    images = torch.multinomial(counts, BATCH, replacement=True, generator=generator)
    queued = torch.multinomial(counts, QUEUE, replacement=True, generator=generator)
    embeddings = F.normalize(torch.randn(2 * BATCH + QUEUE, WIDTH, generator=generator), dim=1)
    logits = torch.randn(BATCH, CLASSES, generator=generator)
    labels = torch.cat([images, images, queued])
    return logits.requires_grad_(), embeddings.requires_grad_(), labels, log_prior(counts).float()


def loss_ratios() -> bool:
    """Compare the loss with its equations; whether both goals are met."""
    logits, embeddings, labels, prior = long_tailed_batch(torch.Generator().manual_seed(0))
    losses: dict[str, Callable[[], Tensor]] = {
        "equations with masks": lambda: masked_equations(logits, embeddings, labels, prior),
        "paco": lambda: paco(logits, embeddings, labels, prior, PaCoSettings(TEMPERATURE, ALPHA)),
    }
    title = f"PaCo loss, {BATCH} anchors, queue of {QUEUE} x {WIDTH}, {CLASSES} classes"
    # at this temperature masks and group sums round differently
    return compare_losses(title, losses, (logits, embeddings), (TIME_GOAL, MEMORY_GOAL), rounds=15, rtol=1e-3)


@torch.no_grad()
def tensor_by_tensor(keys: list[nn.Parameter], queries: list[nn.Parameter]) -> None:
    """The moving average as it is usually written."""
    for key, query in zip(keys, queries, strict=True):
        key.data = key.data * 0.999 + query.data * 0.001


def momentum_kernels() -> bool:
    """Count the kernels of the momentum encoder's update; whether their number is constant."""
    encoder = resnet32_cifar()
    head = ProjectionHead(64, 64, WIDTH, batch_norm=True)
    momentum = MomentumEncoder(encoder, head, momentum=0.999)
    keys, queries = list(momentum.parameters()), [*encoder.parameters(), *head.parameters()]
    print(f"\nkernels of the momentum update, ResNet-32 and head, {len(keys)} tensors")
    counts = {}
    for name, update in {
        "tensor by tensor": lambda: tensor_by_tensor(keys, queries),
        "MomentumEncoder.update": lambda: momentum.update(encoder, head),
    }.items():
        with OpCount() as kernels:
            update()
        counts[name] = kernels.count
        print(f"  {name:<40} {kernels.count:10d} kernels")
    met = counts["MomentumEncoder.update"] <= KERNEL_GOAL
    print(f"  {'whatever the network':<40}              goal {KERNEL_GOAL}: {'met' if met else 'MISSED'}")
    return met


def main() -> int:
    """Compare, print, and return the exit status."""
    torch.set_num_threads(1)
    print(describe())
    goals = [loss_ratios(), momentum_kernels()]
    return 0 if all(goals) else 1


if __name__ == "__main__":
    sys.exit(main())

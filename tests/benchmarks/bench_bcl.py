"""Time, peak memory and kernels of the balanced contrastive loss against its equations written with masks.

Run: python tests/benchmarks/bench_bcl.py    (exit status 1 when a goal is missed)
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import compare_losses, describe
from torch import Tensor

from lt_bench.losses.bcl import balanced_contrastive

BATCH, WIDTH, CLASSES, TEMPERATURE = 512, 128, 100, 0.1
TIME_GOAL, MEMORY_GOAL = 1.5, 1.6


def masked_equations(features: Tensor, prototypes: Tensor, labels: Tensor) -> Tensor:
    """The loss as its equations read, without a loop: masks, weights and exponentials of all pairs."""
    members = torch.cat([*features.unbind(1), prototypes])
    classes = torch.cat([labels, labels, torch.arange(CLASSES)])
    anchors = 2 * len(labels)
    others = 1 - torch.eye(anchors, len(members))
    positives = (classes[:anchors, None] == classes).float() * others
    weights = torch.bincount(classes).float()[classes] - positives
    logits = members[:anchors] @ members.T / TEMPERATURE
    logits = logits - logits.max(1, keepdim=True).values.detach()
    denominator = (torch.exp(logits) * others / weights).sum(1, keepdim=True)
    log_probability = logits - torch.log(denominator)
    return -((positives * log_probability).sum(1) / positives.sum(1)).mean()


def long_tailed_batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Features (512, 2, 128), prototypes (100, 128), labels drawn with imbalance factor 100."""
    counts = (500 * 0.01 ** (torch.arange(CLASSES) / (CLASSES - 1))).floor()
    labels = torch.multinomial(counts, BATCH, replacement=True, generator=generator)
    features = F.normalize(torch.randn(BATCH, 2, WIDTH, generator=generator), dim=2)
    prototypes = F.normalize(torch.randn(CLASSES, WIDTH, generator=generator), dim=1)
    return features.requires_grad_(), prototypes.requires_grad_(), labels


def main() -> int:
    """Compare, print, and return the exit status."""
    torch.set_num_threads(1)
    print(describe())
    features, prototypes, labels = long_tailed_batch(torch.Generator().manual_seed(0))
    losses: dict[str, Callable[[], Tensor]] = {
        "equations with masks": lambda: masked_equations(features, prototypes, labels),
        "balanced_contrastive": lambda: balanced_contrastive(features, prototypes, labels, TEMPERATURE),
    }
    title = f"BCL loss, {2 * BATCH} embeddings x {WIDTH}, {CLASSES} classes"
    return 0 if compare_losses(title, losses, (features, prototypes), (TIME_GOAL, MEMORY_GOAL)) else 1


if __name__ == "__main__":
    sys.exit(main())

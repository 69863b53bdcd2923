"""Time, peak memory and kernels of the subclass-balancing loss against its equations written with masks.

Run: python tests/benchmarks/bench_losses.py    (exit status 1 when a goal is missed)
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import compare_losses, describe
from torch import Tensor

from lt_bench.losses.sbcl import subclass_balancing
from lt_bench.losses.supcon import supcon

BATCH, WIDTH, CLASSES = 512, 128, 100
TEMPERATURE, BETA, BASE_TEMPERATURE = 0.1, 0.25, 0.07
TIME_GOAL, MEMORY_GOAL = 1.5, 1.8


def masked_equations(features: Tensor, labels: Tensor, subclasses: Tensor, class_temperatures: Tensor) -> Tensor:
    """The bi-granularity loss as its equations read: one product and float masks for each of the two terms."""
    embeddings = torch.cat(features.unbind(1))
    labels, subclasses = labels.repeat(2), subclasses.repeat(2)
    same_class = (labels[:, None] == labels).float()
    same_subclass = (subclasses[:, None] == subclasses).float()
    itself = torch.eye(len(labels))
    partner = itself.roll(len(labels) // 2, 0)

    def term(positives: Tensor, candidates: Tensor, temperature: Tensor | float) -> Tensor:
        logits = embeddings @ embeddings.T / temperature
        logits = logits - logits.max(1, keepdim=True).values.detach()
        log_probability = logits - torch.log((torch.exp(logits) * candidates).sum(1, keepdim=True))
        return (positives * log_probability).sum(1) / positives.sum(1)

    near = term(same_subclass - itself, 1 - itself, TEMPERATURE)
    far_positives = same_class - same_subclass + partner
    far = term(far_positives, 1 - same_subclass + partner, class_temperatures[labels][:, None])
    return (-(TEMPERATURE / BASE_TEMPERATURE) * near - BETA * far).mean()


def long_tailed_batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features (512, 2, 128), labels drawn with imbalance factor 100, subclasses of about ten images, temperatures."""
    counts = (500 * 0.01 ** (torch.arange(CLASSES) / (CLASSES - 1))).floor()
    labels = torch.multinomial(counts, BATCH, replacement=True, generator=generator)
    clusters = (counts // 10).clamp(min=1)[labels]
    subclasses = labels * CLASSES + (torch.rand(BATCH, generator=generator) * clusters).long()
    features = F.normalize(torch.randn(BATCH, 2, WIDTH, generator=generator), dim=2)
    temperatures = 0.07 + 0.06 * torch.rand(CLASSES, generator=generator)
    return features.requires_grad_(), labels, subclasses, temperatures


def main() -> int:
    """Compare, print, and return the exit status."""
    torch.set_num_threads(1)
    print(describe())
    features, labels, subclasses, temperatures = long_tailed_batch(torch.Generator().manual_seed(0))
    losses: dict[str, Callable[[], Tensor]] = {
        "equations with masks": lambda: masked_equations(features, labels, subclasses, temperatures),
        "subclass_balancing": lambda: subclass_balancing(
            features, labels, subclasses, TEMPERATURE, temperatures, BETA, BASE_TEMPERATURE
        ),
        "supcon": lambda: supcon(features, labels, TEMPERATURE, TEMPERATURE),
    }
    title = f"SBCL loss, {2 * BATCH} embeddings x {WIDTH}, {CLASSES} classes"
    return 0 if compare_losses(title, losses, (features,), (TIME_GOAL, MEMORY_GOAL)) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The balanced contrastive loss against its equations with masks and the authors' form.

Run: python tests/benchmarks/bench_bcl.py [--tiny]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from harness import Comparison, Side, compare_losses, script
from long_tail import CLASSES, long_tailed_labels
from torch import Tensor

from lt_bench.losses.bcl import balanced_contrastive

WIDTH, TEMPERATURE = 128, 0.1
EQUATIONS_GOALS, AUTHORS_GOALS = (1.5, 3.0), (1.7, 3.0)  # time, memory


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


def authors_form(features: Tensor, prototypes: Tensor, labels: Tensor) -> Tensor:
    """As the authors' code goes about it, less its loop over all labels, by which it counts the classes."""
    anchors = 2 * len(labels)
    targets = torch.cat([labels.repeat(2), torch.arange(CLASSES)])[:, None]
    counts = torch.bincount(targets.squeeze(), minlength=CLASSES).float()
    mask = torch.eq(targets[:anchors], targets.T).float()
    others = torch.scatter(torch.ones_like(mask), 1, torch.arange(anchors)[:, None], 0)
    mask = mask * others
    contrast = torch.cat([torch.cat(torch.unbind(features, dim=1), dim=0), prototypes], dim=0)
    logits = torch.div(contrast[:anchors].mm(contrast.T), TEMPERATURE)
    highest, _ = torch.max(logits, dim=1, keepdim=True)
    logits = logits - highest.detach()
    exponentials = torch.exp(logits) * others
    per_item = counts[targets.squeeze()][None].expand(anchors, -1) - mask
    log_prob = logits - torch.log(exponentials.div(per_item).sum(1, keepdim=True))
    return -((mask * log_prob).sum(1) / mask.sum(1)).mean()


def long_tailed_batch(images: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Features (images, 2, 128), prototypes (100, 128), labels (images,)."""
    labels = long_tailed_labels(images, generator)
    features = F.normalize(torch.randn(images, 2, WIDTH, generator=generator), dim=2)
    prototypes = F.normalize(torch.randn(CLASSES, WIDTH, generator=generator), dim=1)
    return features.requires_grad_(), prototypes.requires_grad_(), labels


def measure(tiny: bool) -> Iterator[Comparison]:
    """Time, peak memory and operations at batch 512."""
    images = 24 if tiny else 512
    batch = long_tailed_batch(images, torch.Generator().manual_seed(0))
    yield from compare_losses(
        f"BCL loss, {2 * images} embeddings x {WIDTH}, {CLASSES} classes",
        [
            Side("equations with masks", lambda: masked_equations(*batch), *EQUATIONS_GOALS),
            Side("the authors' form", lambda: authors_form(*batch), *AUTHORS_GOALS, note="without its loop"),
        ],
        Side("balanced_contrastive", lambda: balanced_contrastive(*batch, TEMPERATURE)),
        batch[:2],
        rounds=2 if tiny else 15,
        row=f"BCL loss, batch {images}",
    )


if __name__ == "__main__":
    sys.exit(script(measure))

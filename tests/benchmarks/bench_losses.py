"""The subclass-balancing loss against its equations with masks and the authors' form.

Run: python tests/benchmarks/bench_losses.py [--tiny]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from harness import Comparison, Side, compare_losses, script
from long_tail import CLASSES, COUNTS, long_tailed_labels
from torch import Tensor

from lt_bench.losses.sbcl import subclass_balancing

WIDTH = 128
TEMPERATURE, BETA, BASE_TEMPERATURE = 0.1, 0.25, 0.07
EQUATIONS_GOALS, AUTHORS_GOALS = (1.7, 2.5), (1.7, 2.5)  # time, memory


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


def authors_form(features: Tensor, labels: Tensor, subclasses: Tensor, class_temperatures: Tensor) -> Tensor:
    """As the authors' code goes about it: masks of images, repeated for the views; the product anew for every term."""
    images, views, _ = features.shape
    contrast = torch.cat(torch.unbind(features, dim=1), dim=0)
    others = torch.scatter(torch.ones(images * views, images * views), 1, torch.arange(images * views)[:, None], 0)
    partner = torch.eye(images).repeat(views, views) * others
    of_class = torch.eq(labels[:, None], labels[None]).float().repeat(views, views)
    of_subclass = torch.eq(subclasses[:, None], subclasses[None]).float().repeat(views, views)

    similarity = torch.div(torch.matmul(contrast, contrast.T), TEMPERATURE)
    highest, _ = torch.max(similarity, dim=1, keepdim=True)
    logits = similarity - highest.detach()
    mask = of_subclass * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    near = (mask * log_prob).sum(1) / mask.sum(1)

    temperatures = class_temperatures[labels].repeat(views)[:, None]
    similarity = torch.div(torch.matmul(contrast, contrast.T), temperatures)
    highest, _ = torch.max(similarity, dim=1, keepdim=True)
    logits = similarity - highest.detach()
    mask = of_class - of_subclass + partner
    candidates = 1 - of_subclass + partner
    log_prob = logits - torch.log((torch.exp(logits) * candidates).sum(1, keepdim=True))
    far = (mask * log_prob).sum(1) / mask.sum(1)
    return -(TEMPERATURE / BASE_TEMPERATURE * near + BETA * far).mean()


def long_tailed_batch(images: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features (images, 2, 128), their labels, subclasses of about ten images of the set, temperatures (100,)."""
    labels = long_tailed_labels(images, generator)
    clusters = (COUNTS // 10).clamp(min=1)[labels]
    subclasses = labels * CLASSES + (torch.rand(images, generator=generator) * clusters).long()
    features = F.normalize(torch.randn(images, 2, WIDTH, generator=generator), dim=2)
    temperatures = 0.07 + 0.06 * torch.rand(CLASSES, generator=generator)
    return features.requires_grad_(), labels, subclasses, temperatures


def measure(tiny: bool) -> Iterator[Comparison]:
    """Time, peak memory and operations at batch 512, the half of the recipe's."""
    images = 24 if tiny else 512
    batch = long_tailed_batch(images, torch.Generator().manual_seed(0))
    features, labels, subclasses, temperatures = batch
    yield from compare_losses(
        f"SBCL loss, {2 * images} embeddings x {WIDTH}, {CLASSES} classes",
        [
            Side("equations with masks", lambda: masked_equations(*batch), *EQUATIONS_GOALS),
            Side("the authors' form", lambda: authors_form(*batch), *AUTHORS_GOALS),
        ],
        Side(
            "subclass_balancing",
            lambda: subclass_balancing(features, labels, subclasses, TEMPERATURE, temperatures, BETA, BASE_TEMPERATURE),
        ),
        (features,),
        rounds=2 if tiny else 15,
        row=f"SBCL loss, batch {images}",
    )


if __name__ == "__main__":
    sys.exit(script(measure))

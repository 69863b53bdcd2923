"""The losses of PaCo and GPaCo against their equations with masks and the authors' form; the momentum update.

Run: python tests/benchmarks/bench_paco.py [--tiny]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from harness import Comparison, Measured, OpCount, Side, close, compare_losses, script
from long_tail import CLASSES, COUNTS, long_tailed_labels
from torch import Tensor, nn

from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.models.heads import ProjectionHead
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.resnet_cifar import resnet32_cifar

QUEUE, ALPHA = 1024, 0.01
OPERATIONS_LIMIT = 1  # of the momentum update, whatever the network
SHARES = COUNTS / COUNTS.sum()
PRIOR = log_prior(COUNTS).float()


class Shape(NamedTuple):
    """A method's values for CIFAR, the images of a batch, and the goals (time, memory) against both baselines."""

    name: str
    images: int
    views: int  # whose images are anchors
    width: int
    temperature: float
    equations_goals: tuple[float, float]
    authors_goals: tuple[float, float]


SHAPES = (
    Shape("PaCo", 512, 1, 32, 0.05, (1.7, 3.0), (1.7, 3.0)),
    Shape("PaCo", 128, 1, 32, 0.05, (1.5, 2.5), (1.5, 2.5)),  # the paper's batch
    Shape("GPaCo", 128, 2, 128, 0.07, (1.5, 2.5), (1.5, 2.5)),
)


class Rows(NamedTuple):
    """Logits (V * B, C) of the anchors, embeddings (2B, D) of both views, a queue (1024, D), the labels of all rows."""

    logits: Tensor
    embeddings: Tensor
    queue: Tensor
    labels: Tensor


def masked_equations(rows: Rows, temperature: float) -> Tensor:
    """The loss as its equations read: all scores in one matrix, and masks of its size for weights and denominator."""
    logits, labels = rows.logits, rows.labels
    embeddings = torch.cat([rows.embeddings, rows.queue])
    anchors, classes = logits.shape
    weights = ALPHA * (labels[:anchors, None] == labels).float()
    others = torch.ones_like(weights).fill_diagonal_(0)
    weights = torch.cat([F.one_hot(labels[:anchors], classes).float(), weights * others], 1)
    allowed = torch.cat([torch.ones_like(logits), others], 1)
    scores = torch.cat([logits + PRIOR, embeddings[:anchors] @ embeddings.T / temperature], 1)
    scores = scores - scores.max(1, keepdim=True).values.detach()
    log_probability = scores - torch.log((torch.exp(scores) * allowed).sum(1, keepdim=True))
    return -((weights * log_probability).sum(1) / weights.sum(1)).mean()


def authors_form(rows: Rows, temperature: float, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """As the authors' code goes about it: the queue copied, every mask a float, 1e-12 under the logarithm."""
    anchors = len(rows.logits)
    features = torch.cat([rows.embeddings, rows.queue.clone()], dim=0)
    targets = rows.labels.clone()[:, None]
    mask = torch.eq(targets[:anchors], targets.T).float()
    scores = torch.div(torch.matmul(features[:anchors], features.T), temperature)
    scores = torch.cat([(rows.logits + torch.log(SHARES + 1e-9)) / 1.0, scores], dim=1)
    highest, _ = torch.max(scores, dim=1, keepdim=True)
    scores = scores - highest.detach()
    others = torch.scatter(torch.ones_like(mask), 1, torch.arange(anchors)[:, None], 0)
    mask = mask * others
    own = F.one_hot(targets[:anchors].squeeze(1), CLASSES).float()
    mask = torch.cat([own * beta, mask * ALPHA], dim=1)
    allowed = torch.cat([torch.ones(anchors, CLASSES), gamma * others], dim=1)
    exponentials = torch.exp(scores) * allowed
    log_prob = scores - torch.log(exponentials.sum(1, keepdim=True) + 1e-12)
    return -((mask * log_prob).sum(1) / mask.sum(1)).mean()


def ours(rows: Rows, settings: PaCoSettings) -> Tensor:
    """The loss as the methods call it, with the copy of the queue that they make."""
    contrast = torch.cat([rows.embeddings, rows.queue])
    return paco(rows.logits, contrast, rows.labels, PRIOR, settings, constants=len(rows.queue))


def long_tailed_rows(shape: Shape, queue: int) -> Rows:
    """A batch and a queue whose labels are drawn alike."""
    generator = torch.Generator().manual_seed(0)
    images, queued = (long_tailed_labels(count, generator) for count in (shape.images, queue))
    unit = F.normalize(torch.randn(2 * shape.images + queue, shape.width, generator=generator), dim=1)
    logits = torch.randn(shape.views * shape.images, CLASSES, generator=generator)
    embeddings, rest = unit.split([2 * shape.images, queue])
    return Rows(logits.requires_grad_(), embeddings.clone().requires_grad_(), rest, torch.cat([images, images, queued]))


def losses(shape: Shape, tiny: bool) -> Iterator[Comparison]:
    """Time, peak memory and operations of one loss."""
    if tiny:
        shape = shape._replace(images=shape.images // 16)
    rows = long_tailed_rows(shape, QUEUE // 16 if tiny else QUEUE)
    settings, temperature = PaCoSettings(shape.temperature, ALPHA), shape.temperature
    yield from compare_losses(
        f"{shape.name} loss, {len(rows.logits)} anchors, queue of {len(rows.queue)} x {shape.width}, {CLASSES} classes",
        [
            Side("equations with masks", lambda: masked_equations(rows, temperature), *shape.equations_goals),
            Side("the authors' form", lambda: authors_form(rows, temperature), *shape.authors_goals),
        ],
        Side("paco", lambda: ours(rows, settings)),
        (rows.logits, rows.embeddings),
        rounds=2 if tiny else 25,
        rtol=1e-3,  # at these temperatures masks and group sums round differently
        row=f"{shape.name} loss, batch {shape.images}, queue of {len(rows.queue):,}",
    )


@torch.no_grad()
def tensor_by_tensor(keys: list[nn.Parameter], queries: list[nn.Parameter]) -> None:
    """The moving average as it is usually written."""
    for key, query in zip(keys, queries, strict=True):
        key.data = key.data * 0.999 + query.data * 0.001


def momentum_update() -> Comparison:
    """Operations of the momentum encoder's update, after which both sides have the same weights."""
    encoder, head = resnet32_cifar(), ProjectionHead(64, 64, 32, batch_norm=True)
    momentum = MomentumEncoder(encoder, head, momentum=0.999)
    keys, queries = list(momentum.parameters()), [*encoder.parameters(), *head.parameters()]
    for query in queries:
        query.data.add_(1)
    looped = [nn.Parameter(key.detach().clone()) for key in keys]
    with OpCount() as theirs:
        tensor_by_tensor(looped, queries)
    with OpCount() as mine:
        momentum.update(encoder, head)
    return Comparison(
        f"momentum update, ResNet-32 and head, {len(keys)} tensors",
        "operations",
        Measured.of("tensor by tensor", theirs.count),
        Measured.of("MomentumEncoder.update", mine.count),
        close()(keys, looped),
        limit=OPERATIONS_LIMIT,
        row="momentum encoder update, ResNet-32 and head",
    )


def measure(tiny: bool) -> Iterator[Comparison]:
    """The losses, then the update."""
    for shape in SHAPES:
        yield from losses(shape, tiny)
    yield momentum_update()


if __name__ == "__main__":
    sys.exit(script(measure))

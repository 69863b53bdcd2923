"""Small parts for engine tests: a run on one process, a source of fixed batches, a plain schedule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.config.schema import Budget, Checkpoint, Training
from lt_bench.contracts import Batch
from lt_bench.data.batches.source import SyncSource
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage

CPU = torch.device("cpu")
LABELS = torch.arange(26) % 3
INPUTS = torch.randn(26, 6, generator=torch.Generator().manual_seed(0)) + LABELS[:, None]


class FixedBatches(SyncSource):
    """A source whose n-th batch is the n-th of a list, whatever is asked for."""

    def __init__(self, batches: Sequence[Batch], labels: Tensor | None = None) -> None:
        self.prepared = list(batches)
        self.labels = batches[0].labels if labels is None else labels
        self.given = 0

    def batch(self, indices, rows, views, generator, strength=None):
        self.given += 1
        return self.prepared[(self.given - 1) % len(self.prepared)]

    def chunks(self, view, indices, rows, size, generator):
        yield from torch.cat([batch.views[0] for batch in self.prepared])[indices[rows]].split(size)


class Noisy(SyncSource):
    """Inputs (N, ...) with noise drawn for the whole global batch, as augmentation is; a rank takes its rows."""

    def __init__(self, inputs: Tensor = INPUTS, labels: Tensor = LABELS, scale: float = 0.1) -> None:
        self.inputs, self.labels, self.scale = inputs, labels, scale

    def batch(self, indices, rows, views, generator, strength=None):
        shape, dtype, mine = (len(indices), *self.inputs.shape[1:]), self.inputs.dtype, indices[rows]
        noise = [torch.randn(shape, generator=generator, dtype=dtype)[rows] for _ in views]
        return Batch(tuple(self.inputs[mine] + self.scale * one for one in noise), self.labels[mine], mine)

    def chunks(self, view, indices, rows, size, generator):
        yield from self.inputs[indices[rows]].split(size)


class Identity(nn.Module):
    """Stands for an encoder or a head: what goes in comes out."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim

    def forward(self, features: Tensor) -> Tensor:
        return features


class Pictures(nn.Module):
    """The encoder of several golden steps: convolution, batch norm, ReLU, global average."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.conv = nn.Conv2d(3, feature_dim, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(feature_dim)

    def forward(self, images: Tensor) -> Tensor:
        return self.bn(self.conv(images)).relu().mean(dim=(2, 3))


class Vectors(nn.Module):
    """An encoder of vectors without batch norm: what is left is the arithmetic of the engine."""

    def __init__(self, dim: int = 6, feature_dim: int = 8) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.layers = nn.Sequential(nn.Linear(dim, feature_dim), nn.Tanh())

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layers(vectors)


class Constant:
    """The same learning rate always."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        return self.lr


def one_process(source, seed: int = 0) -> EngineContext:
    return EngineContext(Processes(0, 1, CPU), seed, source)


def context_of(method: nn.Module, batch: Batch) -> EngineContext:
    """The context of a method that embeds its training images, all of which are in one batch."""
    run = one_process(FixedBatches([batch]))
    run.module = method
    return run


def long_tailed(counts: Sequence[int] = (24, 9, 4), seed: int = 0) -> Batch:
    """All training images as one batch: two views, vectors (N, 6), of as many images of each class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    inputs = torch.randn(len(labels), 6, generator=generator) + labels[:, None]
    return Batch((inputs, inputs + 0.1), labels, torch.arange(len(labels)))


def stage(folder: Path, **intervals: int | None) -> Stage:
    return Stage("stage", folder, "checkpoint.pt", Budget(), Checkpoint(**intervals), progress=False)


def training(epochs: int, batch_size: int, lr: float = 0.1, **optimizer: Any) -> Training:
    return Training(epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer)

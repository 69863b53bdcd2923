"""Small parts for engine tests: a run on one process, a source of fixed batches, a plain schedule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lt_bench.config import Budget, Checkpoint, Optimizer, Training
from lt_bench.contracts import Batch
from lt_bench.data.small import AtOnce
from lt_bench.engine.context import EngineRun
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage

CPU = torch.device("cpu")


class FixedBatches(AtOnce):
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


def one_process(source, seed: int = 0) -> EngineRun:
    return EngineRun(Processes(0, 1, CPU), seed, source)


def stage(folder: Path, **intervals: int | None) -> Stage:
    return Stage("stage", folder, "checkpoint.pt", Budget(), Checkpoint(**intervals), progress=False)


def training(epochs: int, batch_size: int, lr: float = 0.1, **optimizer: float) -> Training:
    return Training(epochs=epochs, batch_size=batch_size, lr=lr, optimizer=Optimizer(**optimizer))

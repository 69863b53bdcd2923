"""Epochs of the linear probe in the engine against a bare loop of the same arithmetic, at CIFAR's size.

Run: python tests/benchmarks/bench_probe.py [--tiny]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import Comparison, Side, compare, script
from torch import Tensor, nn

from lt_bench.config.compose import compose
from lt_bench.config.schema import Budget, Checkpoint
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import CachedFeatures
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage, Trainer
from lt_bench.engine.schedules import Exponential
from lt_bench.preflight.validate import validate
from lt_bench.stage_two.linear_probe import LinearProbe

WIDTH, CLASSES = 512, 100
EPOCHS = 10  # as many as lie between two checkpoints, of which each round writes one
LEARNED = 0.05  # how near the two sides come in accuracy, from different orders of the images
GOAL = 0.8  # the engine keeps means, checks the loss and can be resumed


class Nothing(nn.Module):
    """No encoder: the features are there."""

    feature_dim = WIDTH


def engine(features: Tensor, labels: Tensor, batch: int, folder: Path) -> Trainer:
    """The trainer of the probe's recipe, ready for its first epoch."""
    training = validate(compose(["method=ce", "stage_two=linear_probe"])).stage_two.train
    assert training is not None
    training.batch_size = batch
    source = CachedFeatures(features, labels)
    method = LinearProbe().build(Nothing(), None, TrainInfo(labels, CLASSES, 1)).to(features.device)
    run = EngineContext(Processes(0, 1, features.device), 0, source)
    stage = Stage("stage", folder, "checkpoint.pt", Budget(), Checkpoint(None), progress=False)
    return Trainer(method, source, training, Exponential(training.lr, 500, 1e-6), run, stage)


def separable(images: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Features (N, 512) around a centre for every class, and labels (N,)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    noise = torch.randn(images, WIDTH, generator=generator)
    return (0.1 * centres[labels] + noise).to(device), labels.to(device)


def bare_loop(features: Tensor, labels: Tensor, batch: int) -> Callable[[], nn.Linear]:
    """The same epochs, with nothing around them."""
    linear = nn.Linear(WIDTH, CLASSES, device=features.device)
    optimizer = torch.optim.Adam(linear.parameters(), 0.01, weight_decay=5e-6, fused=True)

    def epochs() -> nn.Linear:
        for _ in range(EPOCHS):
            for indices in torch.randperm(len(labels), device=features.device).split(batch):
                loss = F.cross_entropy(linear(features[indices]), labels[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss.item()
        return linear

    return epochs


def measure(tiny: bool) -> Iterator[Comparison]:
    """Epochs of both; they agree where both have learned the features as well."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, batch = (2_000, 100) if tiny else (50_000, 1_000)
    features, labels = separable(images, device)

    def accuracy(classifier: nn.Module) -> float:
        return (classifier(features).argmax(1) == labels).float().mean().item()

    with tempfile.TemporaryDirectory() as folder:
        trainer = engine(features, labels, batch, Path(folder))

        def ours() -> nn.Module:
            trainer.training.epochs = trainer.state.epoch + EPOCHS
            trainer.stage.checkpoint.unlink(missing_ok=True)
            trainer.fit()
            return trainer.method.classifier

        yield from compare(
            f"{EPOCHS} epochs of the probe, {images} x {WIDTH} features, {CLASSES} classes, batch {batch}, {device}",
            [Side("bare loop", bare_loop(features, labels, batch), GOAL)],
            Side("engine", ours),
            lambda mine, theirs: abs(accuracy(mine) - accuracy(theirs)) < LEARNED < accuracy(mine),
            rounds=1 if tiny else 7,
            row=f"{EPOCHS} epochs of the linear probe with their checkpoint, {images:,} × {WIDTH} features",
            waits=True,
        )


if __name__ == "__main__":
    sys.exit(script(measure))

"""Epochs of the linear probe in the engine against a bare loop of the same arithmetic, at CIFAR's size.

Run: python tests/benchmarks/bench_probe.py    (exit status 1 when the goal is missed)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import alternate, describe, report
from torch import nn

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

IMAGES, WIDTH, CLASSES, BATCH = 50_000, 512, 100, 1000
EPOCHS = 10  # as many as lie between two checkpoints, of which each round writes one
GOAL = 0.8  # the engine keeps means, checks the loss and can be resumed


class Nothing(nn.Module):
    """No encoder: the features are there."""

    feature_dim = WIDTH


def engine(features: torch.Tensor, labels: torch.Tensor, folder: Path) -> Trainer:
    """The trainer of the probe's recipe, ready for its first epoch."""
    training = validate(compose(["method=ce", "stage_two=linear_probe"])).stage_two.train
    assert training is not None
    source = CachedFeatures(features, labels)
    method = LinearProbe().build(Nothing(), None, TrainInfo(labels, CLASSES, 1)).to(features.device)
    run = EngineContext(Processes(0, 1, features.device), 0, source)
    stage = Stage("stage", folder, "checkpoint.pt", Budget(), Checkpoint(None), progress=False)
    return Trainer(method, source, training, Exponential(training.lr, 500, 1e-6), run, stage)


def main() -> int:
    """Compare an epoch of both; whether the goal is missed, as an exit status."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(describe(), device)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(IMAGES, WIDTH, generator=generator).to(device)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator).to(device)
    linear = nn.Linear(WIDTH, CLASSES, device=device)
    optimizer = torch.optim.Adam(linear.parameters(), 0.01, weight_decay=5e-6, fused=True)

    def bare() -> None:
        for _ in range(EPOCHS):
            for indices in torch.randperm(IMAGES, device=device).split(BATCH):
                loss = F.cross_entropy(linear(features[indices]), labels[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss.item()

    with tempfile.TemporaryDirectory() as folder:
        trainer = engine(features, labels, Path(folder))

        def ours() -> None:
            trainer.training.epochs = trainer.state.epoch + EPOCHS
            trainer.stage.checkpoint.unlink(missing_ok=True)
            trainer.fit()

        seconds = alternate({"bare loop": bare, "engine": ours})
    title = f"{EPOCHS} epochs of the probe, {IMAGES} x {WIDTH} features, {CLASSES} classes, batch {BATCH}"
    return report(title, seconds, "bare loop", "engine", GOAL) < GOAL


if __name__ == "__main__":
    sys.exit(main())

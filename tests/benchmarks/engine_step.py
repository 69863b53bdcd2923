"""The engine's own training step, by itself, for benchmarks of whole steps."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path

import torch
from torch import Tensor

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose
from lt_bench.contracts import Method
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage, Trainer
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build


class EngineStep:
    """A step of a method on images (N, 3, H, W) in memory, on one process; ``words`` are those of the run's config.

    A call takes the next batch, at the place of ``epoch`` in training, and returns the method's terms. All is done on
    the device of the images.
    """

    def __init__(self, words: list[str], method: Method, images: Tensor, labels: Tensor, folder: Path, epoch: int):
        config = validate(compose(words))
        self.source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
        run = EngineContext(Processes(0, 1, images.device), 0, self.source)
        stage = Stage("stage one", folder, "checkpoint.pt", config.budget, config.checkpoint, progress=False)
        stage = stage._replace(cuda_graph=config.cuda_graph)
        schedule = build(config.train.schedule, "train.schedule")
        method = method.to(images.device, memory_format=torch.channels_last).train()
        self.trainer = Trainer(method, self.source, config.train, schedule, run, stage)
        self.batches = chain.from_iterable(self.trainer.batches(0) for _ in count())
        self.epoch = epoch

    def __call__(self) -> dict[str, Tensor]:
        """Take the step."""
        return self.trainer._step(next(self.batches), self.epoch, 0, 0.1)

"""A whole SBCL training step on the CPU against its plain composition: `python tests/benchmarks/bench_step.py`.

Plain: torchvision on PIL image by image, NCHW, the loss with masks. Ours: the engine's own step. Both: ResNet-32 with
SBCL's head, 128 images in two views, SGD, one thread.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from bench_augment import MEAN, STD, simclr, smooth_images
from bench_losses import masked_equations
from harness import alternate, describe, report
from PIL import Image
from torch import Tensor
from torchvision import transforms

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine.allocator import keep_freed_memory
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage, Trainer
from lt_bench.engine.schedules import SBCLCosine
from lt_bench.methods.sbcl import SBCL
from lt_bench.models.resnet_cifar import resnet32_cifar
from lt_bench.preflight.validate import validate

BATCH, CLASSES = 128, 100
TIME_GOAL, DATA_GOAL = 1.25, 0.03


def method_and_labels() -> tuple[SBCL, Tensor]:
    """SBCL past its warm-up, on labels drawn with imbalance factor 100."""
    counts = 0.01 ** (torch.arange(CLASSES) / (CLASSES - 1))
    labels = torch.multinomial(counts, 4 * BATCH, replacement=True, generator=torch.Generator().manual_seed(0))
    method = SBCL(resnet32_cifar(), TrainInfo(labels, CLASSES, 10), warm_epochs=0)
    method.subclasses.mul_(CLASSES).add_(torch.arange(len(labels)) % 3)
    return method.train(), labels


class Plain:
    """The step as the specification reads."""

    def __init__(self) -> None:
        self.method, self.labels = method_and_labels()
        self.arrays = list(np.ascontiguousarray(smooth_images(4 * BATCH).permute(0, 2, 3, 1).numpy()))
        self.view = transforms.Compose([*simclr(BATCH).theirs, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
        self.optimizer = torch.optim.SGD(self.method.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)

    def __call__(self) -> None:
        chosen = torch.randperm(len(self.labels))[:BATCH]
        pairs = [(self._augmented(index), self._augmented(index)) for index in chosen.tolist()]
        first, second = (torch.stack(view) for view in zip(*pairs, strict=True))
        embeddings = self.method.embed(torch.cat([first, second]))
        features = torch.stack(embeddings.split(BATCH), dim=1)
        temperatures = self.method.class_temperatures
        loss = masked_equations(features, self.labels[chosen], self.method.subclasses[chosen], temperatures)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _augmented(self, index: int) -> Tensor:
        return self.view(Image.fromarray(self.arrays[index]))


class Ours:
    """The engine's step, with the time that its data takes."""

    def __init__(self, folder: Path) -> None:
        method, labels = method_and_labels()
        config = validate(compose(["dataset=cifar100_lt", "method=sbcl", f"train.batch_size={BATCH}"]))
        source = InMemoryImages(smooth_images(4 * BATCH), labels, lambda view: build_view(view, config.dataset))
        run = EngineContext(Processes(0, 1, torch.device("cpu")), 0, source)
        stage = Stage("stage one", folder, "checkpoint.pt", config.budget, config.checkpoint, progress=False)
        method = method.to(memory_format=torch.channels_last)
        self.trainer = Trainer(method, source, config.train, SBCLCosine(0.1, 10, warm_epochs=1), run, stage)
        self.batches = chain.from_iterable(self.trainer.batches(0) for _ in count())
        self.data_seconds: list[float] = []
        batch = source.batch
        source.batch = lambda *words: self._timed(batch, *words)  # type: ignore[method-assign]

    def __call__(self) -> None:
        self.trainer._step(next(self.batches), 0, 0, 0.1)

    def _timed(self, batch, *words):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        result = batch(*words)
        self.data_seconds.append(time.perf_counter() - start)
        return result


def main() -> int:
    """Compare, print, and return the exit status."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as every run on a CPU does; it serves both sides
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = Plain(), Ours(Path(folder))
        names = ("PIL per image, masks, NCHW", "lt_bench engine")
        seconds = alternate(dict(zip(names, (plain, ours), strict=True)), rounds=5)
    ratio = report(f"SBCL step, ResNet-32, {BATCH} images x 2 views", seconds, *names, TIME_GOAL)
    share = statistics.median(ours.data_seconds[1:]) / statistics.median(seconds[names[1]])
    met = share <= DATA_GOAL
    print(f"  {'share of data in our step':<40} {share:10.2%}     goal {DATA_GOAL:.0%}: {'met' if met else 'MISSED'}")
    return 0 if ratio >= TIME_GOAL and met else 1


if __name__ == "__main__":
    sys.exit(main())

"""A whole SBCL training step on the CPU against its plain form: `python tests/benchmarks/bench_step.py [--tiny]`.

Plain: torchvision on PIL image by image, NCHW, the loss with masks. Ours: the engine's own step. Both: a residual
network with SBCL's head, two views, SGD, one thread.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench_augment import MEAN, STD, simclr, smooth_images
from bench_losses import masked_equations
from engine_step import EngineStep
from harness import Comparison, Measured, Side, close, compare, script
from PIL import Image
from torch import Tensor
from torchvision import transforms

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.methods.sbcl import SBCL
from lt_bench.models.resnet_cifar import resnet8_cifar, resnet32_cifar

CLASSES = 100
TIME_GOAL, DATA_GOAL = 1.25, 0.03


class Setting:
    """Images, labels drawn with imbalance factor 100, and SBCL past its warm-up, the same every time."""

    def __init__(self, batch: int, tiny: bool) -> None:
        self.batch, self.network = batch, resnet8_cifar if tiny else resnet32_cifar
        counts = 0.01 ** (torch.arange(CLASSES) / (CLASSES - 1))
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.multinomial(counts, 4 * batch, replacement=True, generator=generator)
        self.images = smooth_images(4 * batch)

    def method(self) -> SBCL:
        """With subclasses in every class."""
        torch.manual_seed(0)
        method = SBCL(self.network(), TrainInfo(self.labels, CLASSES, 10), warm_epochs=0)
        method.subclasses.mul_(CLASSES).add_(torch.arange(len(self.labels)) % 3)
        return method.train()


class Plain:
    """The step as the specification reads."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.method = setting, setting.method()
        self.arrays = list(np.ascontiguousarray(setting.images.permute(0, 2, 3, 1).numpy()))
        view = simclr(setting.batch).pil
        self.view = transforms.Compose([*view, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
        self.optimizer = torch.optim.SGD(self.method.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)

    def __call__(self) -> None:
        """Take the step."""
        chosen = torch.randperm(len(self.arrays))[: self.setting.batch]
        pairs = [(self._augmented(index), self._augmented(index)) for index in chosen.tolist()]
        first, second = (torch.stack(view) for view in zip(*pairs, strict=True))
        loss = self.loss(first, second, chosen)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def loss(self, first: Tensor, second: Tensor, chosen: Tensor) -> Tensor:
        """Of two views of the chosen images."""
        embeddings = self.method.embed(torch.cat([first, second]))
        features = torch.stack(embeddings.split(len(chosen)), dim=1)
        temperatures = self.method.class_temperatures
        return masked_equations(features, self.setting.labels[chosen], self.method.subclasses[chosen], temperatures)

    def _augmented(self, index: int) -> Tensor:
        return self.view(Image.fromarray(self.arrays[index]))


class Ours(EngineStep):
    """The engine's step, with the time that its data takes."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        words = ["dataset=cifar100_lt", "method=sbcl", f"train.batch_size={setting.batch}"]
        super().__init__(words, setting.method(), setting.images, setting.labels, folder, epoch=0)
        self.data_seconds: list[float] = []
        batch = self.source.batch
        self.source.batch = lambda *words: self._timed(batch, *words)  # type: ignore[method-assign]

    def loss(self, first: Tensor, second: Tensor, chosen: Tensor) -> Tensor:
        """Of two views of the chosen images."""
        batch = Batch((first, second), self.source.labels[chosen], chosen)
        return self.trainer.method(batch, 0, 0, self.trainer.context)["loss"]

    def _timed(self, batch, *words):  # type: ignore[no-untyped-def]
        start = time.process_time()
        result = batch(*words)
        self.data_seconds.append(time.process_time() - start)
        return result


def measure(tiny: bool) -> Iterator[Comparison]:
    """The step, whose losses of one batch must agree, and the share of data in ours."""
    setting = Setting(16 if tiny else 128, tiny)
    views = torch.randn(2, setting.batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = setting.network.__name__
    title = f"SBCL step, {network}, {setting.batch} images x 2 views"
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = Plain(setting), Ours(setting, Path(folder))
        same = close(1e-3)(*(side.loss(*views, torch.arange(setting.batch)).detach() for side in (plain, ours)))
        (whole,) = compare(
            title,
            [Side("PIL image by image, masks, NCHW", plain, TIME_GOAL)],
            Side("lt_bench engine", ours),
            lambda *_: same,
            rounds=1 if tiny else 7,
            row=f"whole SBCL step, {network}, batch {setting.batch}",
        )
    yield whole
    data = Measured.of("its data", *ours.data_seconds[1:])
    row = "data of that step"
    step = replace(whole.ours, name="the whole step")
    yield Comparison(f"{title}: data", "CPU s", step, data, same, 1 / DATA_GOAL, row=row)


if __name__ == "__main__":
    sys.exit(script(measure))

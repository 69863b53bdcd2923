"""Training steps on a GPU: time, launches and the share of data: `python tests/benchmarks/bench_gpu.py [--tiny]`.

CIFAR sizes are those of the papers: ResNet-32, 32 x 32, each method's own batch; ImageNet's are ResNet-50, 224 x 224,
batch 256. Pixels are noise. Without a GPU nothing is measured but `--tiny`, which runs on the CPU.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from engine_step import EngineStep
from harness import Comparison, Measured, NotMeasured, OpCount, script
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

METHODS = ("ce", "sbcl", "bcl", "paco", "proco", "simclr")
LARGE = ("ce", "bcl")
PRECISIONS = ("bf16", "float32")
CUDA = torch.cuda.is_available()
PAST_WARM_UP = 20


class Size(NamedTuple):
    """A data set's recipes with images (3, ``side``, ``side``), ``backbone``, and ``batch`` images, None: the paper's.

    Values are medians over ``rounds`` blocks of ``steps`` steps each.
    """

    dataset: str
    backbone: str
    side: int
    images: int
    classes: int
    batch: int | None
    steps: int
    rounds: int


CIFAR = Size("cifar100_lt", "resnet32_cifar", 32, 10_847, 100, None, 32, 3)
IMAGENET = Size("imagenet_lt", "resnet50", 224, 2048, 1000, 256, 4, 2)
TINY = Size("cifar100_lt", "tiny", 32, 256, 100, 16, 2, 1)


class Step(EngineStep):
    """A step of a method on noise, with how many images it takes."""

    def __init__(self, method: str, size: Size, words: list[str], folder: Path) -> None:
        device = torch.device("cuda" if CUDA else "cpu")
        words = [f"dataset={size.dataset}", f"method={method}", f"backbone={size.backbone}", *words]
        words += [f"train.batch_size={size.batch}"] if size.batch else []
        config = validate(compose(words))
        torch.manual_seed(0)
        labels = (torch.rand(size.images).square() * size.classes).long()
        labels[: size.classes] = torch.arange(size.classes)
        images = torch.randint(0, 256, (size.images, 3, size.side, size.side), dtype=torch.uint8, device=device)
        info = TrainInfo(labels.to(device), size.classes, config.train.epochs)
        built = build(config.method, "method", build(config.backbone, "backbone"), info)
        self.count = config.train.batch_size
        self.title = f"{method}, {size.backbone}, batch {self.count}, {config.train.precision}"
        super().__init__(words, built, images, labels.to(device), folder, PAST_WARM_UP)


def seconds(call: Callable[[], object], size: Size) -> list[float]:
    """Seconds of one call, the mean of a block of calls, for every block; the device has done its work at both ends."""
    found = []
    for _ in range(size.rounds):
        synchronise()
        start = time.perf_counter()
        for _ in range(size.steps):
            call()
        synchronise()
        found.append((time.perf_counter() - start) / size.steps)
    return found


def synchronise() -> None:
    """Wait for the device."""
    if CUDA:
        torch.cuda.synchronize()


def launches(call: Callable[[], object], steps: int) -> tuple[float, str]:
    """What the host hands to the device in one call, counted over ``steps`` calls, with the profiler's summary.

    A graph, a kernel and a copy are one launch each. On a CPU dispatched operations are counted.
    """
    if not CUDA:
        with OpCount() as operations:
            for _ in range(steps):
                call()
        return operations.count / steps, ""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            call()
        synchronise()
    kinds = ("cudaLaunch", "cuLaunch", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaGraphLaunch")
    averages = profiler.key_averages()
    count = sum(one.count for one in averages if one.key.startswith(kinds))
    on_device = [one for one in averages if one.device_type == DeviceType.CUDA]
    busy = sum(one.self_device_time_total for one in on_device) / 1e3 / steps
    top = sorted(on_device, key=lambda one: -one.self_device_time_total)[:6]
    lines = [f"  device busy {busy:.2f} ms a step; most of it in"]
    lines += [
        f"    {one.self_device_time_total / 1e3 / steps:8.3f} ms {one.count / steps:7.1f} x  {one.key[:90]}"
        for one in top
    ]
    return count / steps, "\n".join(lines)


def one_step(method: str, size: Size, words: list[str], folder: Path) -> Iterator[Comparison]:
    """A step, its data alone, and the launches of both."""
    step = Step(method, size, words, folder)
    for _ in range(max(4, size.steps)):
        step()
    whole = seconds(step, size)
    data = seconds(lambda: next(step.batches), size)
    row = f"GPU step of {step.title}"
    rate = step.count / statistics.median(whole)
    yield Comparison(
        f"{step.title}: data of a step ({rate:,.0f} images/s)",
        "s",
        Measured.of("the whole step", *whole),
        Measured.of("its data", *data),
        agree=True,
        row=row,
    )
    of_step, summary = launches(step, size.steps)
    of_data, _ = launches(lambda: next(step.batches), size.steps)
    yield Comparison(
        f"{step.title}: launches of a step",
        "operations",
        Measured.of("the whole step", of_step),
        Measured.of("its data", of_data),
        agree=True,
        row=row,
    )
    print(summary, flush=True)


def measure(tiny: bool) -> Iterator[Comparison | NotMeasured]:
    """All methods at CIFAR's size and some at ImageNet's."""
    if not CUDA and not tiny:
        yield NotMeasured("training steps on a GPU", "lt_bench", "no CUDA device", row="GPU steps")
        return
    if CUDA:
        print(torch.cuda.get_device_name(), flush=True)
    cases = [(method, TINY if tiny else CIFAR, precision) for precision in PRECISIONS for method in METHODS]
    cases += [] if tiny else [(method, IMAGENET, "bf16") for method in LARGE]
    for method, size, precision in cases if not tiny else cases[len(METHODS) :]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                yield from one_step(method, size, [f"train.precision={precision}"], Path(folder))
            except torch.OutOfMemoryError:
                yield NotMeasured(f"{method}, {size.backbone}", precision, "not enough memory", row="")
        if CUDA:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(script(measure))

"""Training steps on a GPU: time, launches and the share of data: `python tests/benchmarks/bench_gpu.py [--tiny]`.

CIFAR sizes are those of the papers: ResNet-32, 32 x 32, each method's own batch; ImageNet's are ResNet-50, 224 x 224,
batch 256. Pixels are noise. Without a GPU nothing is measured but `--tiny`, which runs on the CPU.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MethodType
from typing import NamedTuple

import torch
from engine_step import EngineStep
from harness import Comparison, Measured, NotMeasured, OpCount, script
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.source import SyncSource
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

METHODS = ("ce", "sbcl", "bcl", "paco", "proco", "simclr")
LARGE = ("ce", "bcl")
CUDA = torch.cuda.is_available()
PAST_WARM_UP = 20
WARM_STEPS, COUNTED_STEPS = 8, 4


class Size(NamedTuple):
    """A data set's recipes with images (3, ``side``, ``side``), ``backbone``, and ``batch`` images, None: the paper's.

    Values are medians over ``rounds`` epochs.
    """

    dataset: str
    backbone: str
    side: int
    images: int
    classes: int
    batch: int | None
    rounds: int


CIFAR = Size("cifar100_lt", "resnet32_cifar", 32, 10_847, 100, None, 2)
IMAGENET = Size("imagenet_lt", "resnet50", 224, 1024, 1000, 256, 1)
TINY = Size("cifar100_lt", "tiny", 32, 256, 100, 16, 1)


class Way(NamedTuple):
    """How steps are carried out: with these words, and with the batch of every step augmented ``alone`` or not.

    ``searched``: cuDNN tries the kernels of a convolution and takes the fastest.
    """

    name: str
    words: tuple[str, ...] = ()
    alone: bool = False
    searched: bool = False


ALONE, EAGER = Way("each batch augmented alone", alone=True), Way("eager")
GRAPH = Way("graph", ("cuda_graph=true",))
SEARCHED = Way("graph, kernels searched", ("cuda_graph=true",), searched=True)


class Step(EngineStep):
    """A step of a method on noise, with how many images it takes."""

    def __init__(self, method: str, size: Size, precision: str, way: Way, folder: Path) -> None:
        device = torch.device("cuda" if CUDA else "cpu")
        words = [f"dataset={size.dataset}", f"method={method}", f"backbone={size.backbone}", *way.words]
        words += [f"train.precision={precision}", *([f"train.batch_size={size.batch}"] if size.batch else [])]
        config = validate(compose(words))
        torch.manual_seed(0)
        labels = (torch.rand(size.images).square() * size.classes).long()
        labels[: size.classes] = torch.arange(size.classes)
        images = torch.randint(0, 256, (size.images, 3, size.side, size.side), dtype=torch.uint8, device=device)
        info = TrainInfo(labels.to(device), size.classes, config.train.epochs)
        built = build(config.method, "method", build(config.backbone, "backbone"), info)
        self.count, self.size = config.train.batch_size, size
        super().__init__(words, built, images, labels.to(device), folder, PAST_WARM_UP)
        self.source._branch_free = True  # as on a GPU
        if way.alone:
            self.source.batches = MethodType(SyncSource.batches, self.source)  # type: ignore[method-assign]
        self.steps = self.trainer.steps_per_epoch
        self.batch = next(self.batches)
        self.seconds: list[float] = []
        self.data_seconds: list[float] = []

    def data(self) -> object:
        """The batch of a step."""
        return next(self.batches)

    def network(self) -> object:
        """A step without its data."""
        return self.trainer._step(self.batch, self.epoch, 0, 0.01)

    def measure(self) -> None:
        """Seconds of a step and of its data, of every block."""
        for _ in range(WARM_STEPS):
            self()
        self.seconds = [seconds(self, self.steps) for _ in range(self.size.rounds)]
        self.data_seconds = [seconds(self.data, self.steps) for _ in range(self.size.rounds)]


def seconds(call: Callable[[], object], steps: int) -> float:
    """Seconds of one of some calls; the device has done its work at both ends."""
    synchronise()
    start = time.perf_counter()
    for _ in range(steps):
        call()
    synchronise()
    return (time.perf_counter() - start) / steps


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
    top = sorted(on_device, key=lambda one: -one.self_device_time_total)[:5]
    lines = [f"    device busy {busy:.2f} ms"]
    lines += [
        f"    {one.self_device_time_total / 1e3 / steps:8.3f} ms {one.count / steps:7.1f} x  {one.key[:90]}"
        for one in top
    ]
    return count / steps, "\n".join(lines)


def one_case(method: str, size: Size, precision: str, ways: tuple[Way, ...], counted: bool) -> Iterator[Comparison]:
    """The step of a method, carried out in several ways: the last against the others; its data; its launches."""
    steps = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in ways:
            torch.backends.cudnn.benchmark = way.searched
            steps[way.name] = step = Step(method, size, precision, way, Path(folder))
            step.measure()
        *others, last = steps
        title = f"{method}, {size.backbone}, batch {step.count}, {precision}"
        row = f"GPU step: {title}"
        for other in others:
            pairs = ((name, one.count / statistics.median(one.seconds)) for name, one in steps.items())
            rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in pairs)
            mine, theirs = (Measured.of(name, *steps[name].seconds) for name in (last, other))
            yield Comparison(f"{title} (images/s: {rates})", "s", theirs, mine, agree=True, row=row)
        for name, step in steps.items():
            whole = Measured.of(f"the whole step, {name}", *step.seconds)
            yield Comparison(f"{title}: data", "s", whole, Measured.of("its data", *step.data_seconds), agree=True)
        if counted:
            for name, step in steps.items():
                data, _ = launches(step.data, step.steps)
                network, summary = launches(step.network, COUNTED_STEPS)
                whole = Measured.of(f"the whole step, {name}", data + network)
                of_data = Measured.of("its data", data)
                yield Comparison(f"{title}: launches", "operations", whole, of_data, agree=True)
                print(f"    without data, {name}\n{summary}", flush=True)


def measure(tiny: bool) -> Iterator[Comparison | NotMeasured]:
    """All methods at CIFAR's size and some at ImageNet's."""
    if not CUDA and not tiny:
        yield NotMeasured("training steps on a GPU", "lt_bench", "no CUDA device", row="GPU steps")
        return
    if CUDA:
        print(torch.cuda.get_device_name(), flush=True)
    if tiny:
        cases = [(method, TINY, "float32", (EAGER, GRAPH), True) for method in ("ce", "bcl")]
    else:
        every = (ALONE, EAGER, SEARCHED, GRAPH)
        cases = [(method, CIFAR, "bf16", every, True) for method in METHODS]
        cases += [(method, IMAGENET, "bf16", (EAGER, GRAPH), True) for method in LARGE]
        cases += [(method, CIFAR, "float32", (EAGER, GRAPH), False) for method in METHODS]
    for case in cases:
        try:
            yield from one_case(*case)
        except Exception as error:  # one method that fails costs the others nothing
            if tiny:
                raise
            traceback.print_exc()
            yield NotMeasured(f"{case[0]}, {case[1].backbone}", case[2], f"{type(error).__name__}: {error}")
        if CUDA:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(script(measure))

"""NT-Xent, Sinkhorn, the score memory, and a training step of SimCLR with and without GH, on the CPU.

Run: python tests/benchmarks/bench_gh.py    (exit status 1 when a goal is missed; steps take most of the minutes)
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_augment import smooth_images
from harness import OpCount, alternate, compare_losses, describe, report
from torch import Tensor

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine.allocator import keep_freed_memory
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage, Trainer
from lt_bench.geometry.sinkhorn import sinkhorn
from lt_bench.losses.simclr import nt_xent
from lt_bench.methods.harmonization import Harmonization, HarmonizationSettings
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

IMAGES, DIRECTIONS, WIDTH, TEMPERATURE = 10_847, 100, 128, 0.2
LOSS_GOALS = (1.5, 1.5)  # time, memory
SINKHORN_GOAL, MEMORY_GOAL = 1.3, 20.0
STEP_BATCH, STEP_GOAL = 256, 1 / 1.15


def masked_nt_xent(first: Tensor, second: Tensor) -> Tensor:
    """The loss as it is usually written: interleaved views, a mask filled image by image, exp, sum, log."""
    views = torch.stack([F.normalize(first, dim=1), F.normalize(second, dim=1)], dim=1).flatten(0, 1)
    exponentials = torch.exp(views @ views.T / TEMPERATURE)
    mask = torch.ones(len(views), len(views), dtype=torch.bool)
    for image in range(len(first)):
        mask[2 * image, 2 * image] = mask[2 * image + 1, 2 * image + 1] = False
        mask[2 * image, 2 * image + 1] = mask[2 * image + 1, 2 * image] = False
    negatives = exponentials.masked_select(mask).view(len(views), -1).sum(1)
    positives = torch.exp((views[0::2] * views[1::2]).sum(1) / TEMPERATURE).repeat_interleave(2)
    return -torch.log(positives / (positives + negatives)).mean()


def losses() -> bool:
    """NT-Xent of 512 images."""
    generator = torch.Generator().manual_seed(0)
    views = tuple(torch.randn(512, WIDTH, generator=generator).requires_grad_() for _ in range(2))
    written: dict[str, Callable[[], Tensor]] = {
        "mask, exp, sum, log": lambda: masked_nt_xent(*views),
        "nt_xent": lambda: nt_xent(*views, TEMPERATURE).mean(),
    }
    return compare_losses("NT-Xent, 512 images x 2 views x 128", written, views, LOSS_GOALS, rtol=1e-3)


def diagonal_sinkhorn(scores: Tensor, prior: Tensor) -> Tensor:
    """300 updates as the equations read, with diagonal matrices at the end."""
    count = len(scores)
    kernel = torch.exp(scores.T / 0.05)
    rows = torch.full((count,), 1 / count)
    for _ in range(300):
        columns = prior / (kernel @ rows)
        rows = (1 / count) / (kernel.T @ columns)
    return count * (torch.diag(columns) @ kernel @ torch.diag(rows)).T


def assignments(count: int) -> bool:
    """Both views of a batch: clusters of unequal size, and the prior of the whole set."""
    generator = torch.Generator().manual_seed(0)
    prior = 0.01 ** (torch.arange(DIRECTIONS) / (DIRECTIONS - 1))
    clusters = torch.multinomial(prior, count, replacement=True, generator=generator)
    noise = torch.randn(2, count, DIRECTIONS, generator=generator)
    views = F.normalize(noise + 8 * F.one_hot(clusters, DIRECTIONS), dim=2).unbind()
    prior = prior / prior.sum()
    for view in views:
        torch.testing.assert_close(sinkhorn(view, prior, 0.05), diagonal_sinkhorn(view, prior), rtol=1e-3, atol=1e-5)
    calls: dict[str, Callable[[], object]] = {
        "diagonal matrices": lambda: [diagonal_sinkhorn(view, prior) for view in views],
        "sinkhorn": lambda: [sinkhorn(view, prior, 0.05) for view in views],
        "sinkhorn, tolerance 1e-4": lambda: [sinkhorn(view, prior, 0.05, 300, 1e-4) for view in views],
    }
    title = f"Sinkhorn of two views, {count} images x {DIRECTIONS} directions, 300 updates"
    return report(title, alternate(calls, rounds=15), "diagonal matrices", "sinkhorn", SINKHORN_GOAL) >= SINKHORN_GOAL


def memory() -> bool:
    """A batch of 512 enters the score memory."""
    component = Harmonization(HarmonizationSettings(target_dim=DIRECTIONS), IMAGES, WIDTH)
    generator = torch.Generator().manual_seed(0)
    scores = F.normalize(torch.randn(512, DIRECTIONS, generator=generator), dim=1)
    indices = torch.randperm(IMAGES, generator=generator)[:512]
    looped = component.memory.clone()

    def loop() -> None:
        for row, index in enumerate(indices):
            known = looped[index]
            looped[index] = 0.9 * known + 0.1 * scores[row] if known.any() else scores[row]

    calls: dict[str, Callable[[], object]] = {
        "image by image": loop,
        "one indexed update": lambda: component.remember(scores, indices, epoch=1),
    }
    ratio = report("score memory, 512 images x 100", alternate(calls, rounds=15), *calls, MEMORY_GOAL)
    torch.testing.assert_close(component.memory, looped)
    with OpCount() as kernels:
        component.remember(scores, indices, epoch=1)
    print(f"  kernels of the indexed update: {kernels.count}")
    return ratio >= MEMORY_GOAL


class Step:
    """The engine's own training step of a method, after the warm-up of GH."""

    def __init__(self, method: str, images: Tensor, folder: Path) -> None:
        words = ["dataset=cifar100_lt", f"method={method}", "backbone=resnet18_cifar"]
        config = validate(compose([*words, f"train.batch_size={STEP_BATCH}"]))
        torch.manual_seed(0)
        labels = torch.arange(len(images)) % 100
        info = TrainInfo(labels, 100, config.train.epochs)
        built = build(config.method, "method", build(config.backbone, "backbone"), info)
        built = built.to(memory_format=torch.channels_last).train()
        source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
        run = EngineContext(Processes(0, 1, torch.device("cpu")), 0, source)
        stage = Stage("stage one", folder, "checkpoint.pt", config.budget, config.checkpoint, progress=False)
        schedule = build(config.train.schedule, "train.schedule")
        self.trainer = Trainer(built, source, config.train, schedule, run, stage)
        self.batches = chain.from_iterable(self.trainer.batches(0) for _ in count())

    def __call__(self) -> None:
        self.trainer._step(next(self.batches), 600, 0, 0.1)


def steps() -> bool:
    """Whether GH costs a step little."""
    images = smooth_images(STEP_BATCH)
    with tempfile.TemporaryDirectory() as folder:
        calls = {name: Step(name, images, Path(folder)) for name in ("simclr", "simclr_gh")}
        seconds = alternate(calls, rounds=3)
    title = f"training step, ResNet-18, {STEP_BATCH} images x 2 views"
    return report(title, seconds, "simclr", "simclr_gh", STEP_GOAL) >= STEP_GOAL


def main() -> int:
    """Compare, print, and return the exit status."""
    keep_freed_memory()  # as a run does on the CPU
    torch.set_num_threads(1)
    print(describe())
    met = [losses(), assignments(256), assignments(512), memory(), steps()]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

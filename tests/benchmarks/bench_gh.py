"""NT-Xent, the whole loss of SimCLR with GH, Sinkhorn, the score memory, and a training step with and without GH.

Run: python tests/benchmarks/bench_gh.py [--tiny]    (steps take most of the minutes)
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_augment import smooth_images
from engine_step import EngineStep
from harness import Comparison, Side, close, compare, compare_losses, script
from torch import Tensor

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.geometry.sinkhorn import sinkhorn
from lt_bench.losses.simclr import nt_xent
from lt_bench.methods.harmonization import Harmonization, HarmonizationSettings
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

IMAGES, DIRECTIONS, WIDTH, TEMPERATURE = 10_847, 100, 128, 0.2
NT_XENT_GOALS, WHOLE_GOALS = (1.5, 1.5), (1.5, 1.0)  # time and memory, of the authors' form
EQUATIONS_GOALS = (1.2, 1.0)
SINKHORN_GOAL, MEMORY_GOAL = 1.3, 20.0
STEP_GOAL = 1 / 1.15


def masked_nt_xent(first: Tensor, second: Tensor) -> Tensor:
    """The loss as its equation reads: exponentials of all pairs, and a float mask that leaves out the view itself."""
    views = torch.cat([F.normalize(first, dim=1), F.normalize(second, dim=1)])
    exponentials = torch.exp(views @ views.T / TEMPERATURE)
    others = 1 - torch.eye(len(views))
    partners = torch.exp((views * views.roll(len(first), 0)).sum(1) / TEMPERATURE)
    return -torch.log(partners / (exponentials * others).sum(1)).mean()


def authors_nt_xent(first: Tensor, second: Tensor) -> Tensor:
    """As the authors' code goes about it: interleaved views, a mask filled image by image, the negatives picked out."""
    views = torch.stack([F.normalize(first, dim=1), F.normalize(second, dim=1)], dim=1).flatten(0, 1)
    exponentials = torch.exp(views @ views.T / TEMPERATURE)
    mask = torch.ones(len(views), len(views), dtype=torch.bool)
    for image in range(len(first)):
        mask[2 * image, 2 * image] = mask[2 * image + 1, 2 * image + 1] = False
        mask[2 * image, 2 * image + 1] = mask[2 * image + 1, 2 * image] = False
    negatives = exponentials.masked_select(mask).view(len(views), -1).sum(1)
    positives = torch.exp((views[0::2] * views[1::2]).sum(1) / TEMPERATURE).repeat_interleave(2)
    return -torch.log(positives / (positives + negatives)).mean()


def authors_harmonization(first: Tensor, second: Tensor, directions: Tensor, prior: Tensor) -> Tensor:
    """The other term of the authors' loss, likewise; it is also what the equations say."""
    scores = [F.normalize(view @ directions.T, dim=1) for view in (first, second)]
    with torch.no_grad():
        of_first, of_second = (diagonal_sinkhorn(view, prior) for view in scores)
    logs = [F.log_softmax(view / 0.1, dim=1) for view in scores]
    return -((of_first * logs[1]).sum(1).mean() + (of_second * logs[0]).sum(1).mean())


def losses(batch: int, rounds: int) -> Iterator[Comparison]:
    """NT-Xent, and with the harmonization beside it what a step of SimCLR with GH minimises, with their gradients."""
    generator = torch.Generator().manual_seed(0)
    views = tuple(torch.randn(batch, WIDTH, generator=generator).requires_grad_() for _ in range(2))
    theirs = [
        Side("equations with masks", lambda: masked_nt_xent(*views), *EQUATIONS_GOALS),
        Side("the authors' form", lambda: authors_nt_xent(*views), *NT_XENT_GOALS),
    ]
    ours = Side("nt_xent", lambda: nt_xent(*views, TEMPERATURE).mean())
    title = f"NT-Xent, {batch} images x 2 views x {WIDTH}"
    yield from compare_losses(title, theirs, ours, views, rounds, rtol=1e-3, row=f"NT-Xent, batch {batch}")

    torch.manual_seed(0)
    component = Harmonization(HarmonizationSettings(target_dim=DIRECTIONS, warm_epochs=1), IMAGES, WIDTH)
    component.prior.copy_(torch.softmax(torch.linspace(0, math.log(0.01), DIRECTIONS), 0))  # a tail of 1 to 100
    indices = torch.randperm(IMAGES, generator=generator)[:batch]

    def with_theirs(contrastive: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return contrastive(*views) + authors_harmonization(*views, component.directions, component.prior)

    theirs = [
        Side("equations with masks", lambda: with_theirs(masked_nt_xent), *EQUATIONS_GOALS),
        Side("the authors' form", lambda: with_theirs(authors_nt_xent), *WHOLE_GOALS),
    ]
    ours = Side(
        "nt_xent, Harmonization", lambda: nt_xent(*views, TEMPERATURE).mean() + component(*views, indices, epoch=1)
    )
    title = f"loss of SimCLR with GH, {batch} images x 2 views x {WIDTH}, {DIRECTIONS} directions"
    row = f"loss of SimCLR with geometric harmonization, batch {batch}"
    yield from compare_losses(title, theirs, ours, views, rounds, rtol=1e-3, row=row)


def diagonal_sinkhorn(scores: Tensor, prior: Tensor) -> Tensor:
    """300 updates as the equations read, with diagonal matrices at the end."""
    count = len(scores)
    kernel = torch.exp(scores.T / 0.05)
    rows = torch.full((count,), 1 / count)
    for _ in range(300):
        columns = prior / (kernel @ rows)
        rows = (1 / count) / (kernel.T @ columns)
    return count * (torch.diag(columns) @ kernel @ torch.diag(rows)).T


def assignments(batch: int, rounds: int) -> Iterator[Comparison]:
    """Both views of a batch: clusters of unequal size, and the prior of the whole set."""
    generator = torch.Generator().manual_seed(0)
    prior = 0.01 ** (torch.arange(DIRECTIONS) / (DIRECTIONS - 1))
    clusters = torch.multinomial(prior, batch, replacement=True, generator=generator)
    noise = torch.randn(2, batch, DIRECTIONS, generator=generator)
    views = F.normalize(noise + 8 * F.one_hot(clusters, DIRECTIONS), dim=2).unbind()
    prior = prior / prior.sum()
    theirs = Side("diagonal matrices", lambda: [diagonal_sinkhorn(view, prior) for view in views], SINKHORN_GOAL)
    ours = Side("sinkhorn", lambda: [sinkhorn(view, prior, 0.05) for view in views])
    title = f"Sinkhorn of two views, {batch} images x {DIRECTIONS} directions, 300 updates"
    row = f"Sinkhorn of two views, batch {batch}, 300 updates"
    yield from compare(title, [theirs], ours, close(1e-3, 1e-5), rounds, row)


def memory(batch: int, rounds: int) -> Iterator[Comparison]:
    """A batch enters the score memory."""
    component = Harmonization(HarmonizationSettings(target_dim=DIRECTIONS), IMAGES, WIDTH)
    generator = torch.Generator().manual_seed(0)
    scores = F.normalize(torch.randn(batch, DIRECTIONS, generator=generator), dim=1)
    indices = torch.randperm(IMAGES, generator=generator)[:batch]
    looped = component.memory.clone()

    def loop() -> Tensor:
        for row, index in enumerate(indices):
            known = looped[index]
            looped[index] = 0.9 * known + 0.1 * scores[row] if known.any() else scores[row]
        return looped

    def ours() -> Tensor:
        component.remember(scores, indices, epoch=1)
        return component.memory

    title = f"score memory of GH, {batch} images x {DIRECTIONS}"
    theirs = Side("image by image", loop, MEMORY_GOAL)
    yield from compare(
        title, [theirs], Side("one indexed update", ours), close(), rounds, f"score memory, batch {batch}"
    )


def steps(batch: int, backbone: str, rounds: int) -> Iterator[Comparison]:
    """Whether GH costs a step little: after its warm-up, on the same images; the contrastive terms must be the same."""
    images, labels = smooth_images(batch), torch.arange(batch) % 100
    calls = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("simclr", "simclr_gh"):
            words = ["dataset=cifar100_lt", f"method={name}", f"backbone={backbone}", f"train.batch_size={batch}"]
            config = validate(compose(words))
            torch.manual_seed(0)
            info = TrainInfo(labels, 100, config.train.epochs)
            method = build(config.method, "method", build(config.backbone, "backbone"), info)
            calls.append(EngineStep(words, method, images, labels, Path(folder), epoch=600))
        without, with_gh = calls
        yield from compare(
            f"training step, {backbone}, {batch} images x 2 views",
            [Side("without harmonization", without, STEP_GOAL)],
            Side("with harmonization", with_gh),
            lambda mine, theirs: close(1e-3)(mine["contrastive"], theirs["loss"]),
            rounds,
            f"step of SimCLR with geometric harmonization, {backbone}, batch {batch}",
        )


def measure(tiny: bool) -> Iterator[Comparison]:
    """All parts."""
    batch, rounds = (32, 1) if tiny else (512, 15)
    yield from losses(batch, rounds)
    yield from assignments(batch // 2, rounds)
    yield from assignments(batch, rounds)
    yield from memory(batch, rounds)
    yield from steps(batch // 4, *(("tiny", 1) if tiny else ("resnet18_cifar", 3)))


if __name__ == "__main__":
    sys.exit(script(measure))

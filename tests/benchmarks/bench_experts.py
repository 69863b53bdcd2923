"""A training step with three experts against what its operations predict: `python tests/benchmarks/bench_experts.py`.

Predicted: the step of the single network, times how many more multiplications the experts take. The other side is the
tails as one, whose convolutions have a group for each expert. Forward, backward and SGD on noise, one thread.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Iterator

import torch
from harness import Comparison, Measured, Side, alternate, close, compare, script
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lt_bench.contracts import TrainInfo
from lt_bench.methods.ce import CE
from lt_bench.methods.experts import Experts
from lt_bench.models.experts import ExpertEncoder
from lt_bench.models.resnet_cifar import PaddingShortcut, resnet8_cifar, resnet32_cifar

CLASSES, EXPERTS, GOAL = 100, 3, 1 / 1.1


class Step:
    """A step of cross-entropy on the same images."""

    def __init__(self, method: CE, images: Tensor, labels: Tensor) -> None:
        self.method = method.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.images, self.labels = images, labels
        self.optimizer = torch.optim.SGD(method.parameters(), 0.01, momentum=0.9)

    def __call__(self) -> Tensor:
        """Take the step; the loss."""
        features = self.method.encoder(self.images)
        if isinstance(self.method.encoder, ExpertEncoder):
            loss = self.method.experts_loss(self.method.classifier.expert_logits(features), self.labels, 0)
        else:
            loss = self.method.loss(self.method.classifier(features), self.labels, 0)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def flops(self) -> int:
        """Of one step."""
        with FlopCounterMode(display=False) as counted:
            self()
        return counted.get_total_flops()


class GroupedShortcut(nn.Module):
    """A padding shortcut of every group of channels."""

    def __init__(self, shortcut: PaddingShortcut) -> None:
        super().__init__()
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Shapes: (B, K C, H, W) -> (B, K C', H', W')."""
        found = self.shortcut(maps.unflatten(1, (EXPERTS, -1)).flatten(0, 1))
        return found.unflatten(0, (-1, EXPERTS)).flatten(1, 2)


class Grouped(nn.Module):
    """The tails of an encoder with experts as one network."""

    def __init__(self, encoder: ExpertEncoder) -> None:
        super().__init__()
        self.trunk, self.feature_dim = copy.deepcopy(encoder.trunk), encoder.feature_dim
        self.tail = copy.deepcopy(encoder.tails[0])
        for name, part in list(self.tail.named_modules()):
            holder, _, own = name.rpartition(".")
            alike = [tail.get_submodule(name) for tail in encoder.tails]
            if isinstance(part, nn.Conv2d):
                shape = part.kernel_size, part.stride, part.padding
                channels = EXPERTS * part.in_channels, EXPERTS * part.out_channels
                new: nn.Module = nn.Conv2d(*channels, *shape, groups=EXPERTS, bias=False)
            elif isinstance(part, nn.BatchNorm2d):
                new = nn.BatchNorm2d(EXPERTS * part.num_features)
            elif isinstance(part, PaddingShortcut):
                new = GroupedShortcut(part)
            else:
                continue
            for key, _ in part.named_parameters():
                new.get_parameter(key).data = torch.cat([one.get_parameter(key).data for one in alike])
            setattr(self.tail.get_submodule(holder), own, new)

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, K D)."""
        return self.tail(self.trunk.maps(images).repeat(1, EXPERTS, 1, 1)).mean(dim=(2, 3))


class GroupedStep(Step):
    """The step with the tails as one."""

    def __call__(self) -> Tensor:
        """Take the step; the loss."""
        logits = self.method.classifier.expert_logits(self.method.encoder(self.images))
        loss = self.method.experts_loss(logits, self.labels, 0)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def measure(tiny: bool) -> Iterator[Comparison]:
    """The step of three experts of full and of three quarters of the width."""
    network, batch, rounds = (resnet8_cifar, 8, 1) if tiny else (resnet32_cifar, 128, 7)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,), generator=generator)
    info = TrainInfo(torch.arange(CLASSES), CLASSES, 10)
    name = network.__name__
    for width in (1.0, 0.75):
        single = Step(CE(network(), info), images, labels)
        method = CE(network(), info, experts=Experts(EXPERTS, width=width))
        assert isinstance(method.encoder, ExpertEncoder)
        grouped = copy.deepcopy(method)
        grouped.encoder = Grouped(method.encoder)
        several, as_one = Step(method, images, labels), GroupedStep(grouped, images, labels)
        first = [step() for step in (several, as_one)]
        title = f"{EXPERTS} experts, {name} of {width:g} of its width, {batch} images"
        yield from compare(
            title,
            [Side("tails as one, a group for each expert", as_one)],
            Side("lt_bench, tail by tail", several),
            lambda *_, found=first: close(1e-4)(*found),
            rounds,
            row=f"step of {title}",
        )
        more = several.flops() / single.flops()
        timed = alternate({"single": single, "several": several}, rounds, time.process_time)
        predicted = Measured.of(f"single network x {more:.3f}", *(more * one for one in timed["single"].seconds))
        ours = Measured.of("lt_bench, tail by tail", *timed["several"].seconds)
        goal = GOAL if width == 1 else None  # narrow tails have more to do beside multiplying
        yield Comparison(title, "CPU s", predicted, ours, True, goal, row=f"step of {title}")


if __name__ == "__main__":
    sys.exit(script(measure))

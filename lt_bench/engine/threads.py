"""How many threads PyTorch computes a stage with: by the size of its network and by what is free."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lt_bench.config.schema import Config
from lt_bench.engine.context import evaluating
from lt_bench.machine import OthersWork, given, share_of_cores

# Multiply-adds of a layer that are worth one more thread: some tenths of a millisecond, many times what it costs that
# threads wait for each other; or, where the core has other work, as long as that may hold it (Linux: 3 ms).
GRAIN, BUSY_GRAIN = 20e6, 200e6


class Threads(NamedTuple):
    """A number of threads, and why it is this one in a few words."""

    number: int
    reason: str


class Asked(NamedTuple):
    """A number of threads that is asked for, None where none is, and by what."""

    number: int | None
    reason: str


def asked_for(config: Config) -> Asked:
    """What the config, or else the environment, asks for."""
    if config.threads is not None:
        return Asked(config.threads, f"threads={config.threads}")
    number = given("OMP_NUM_THREADS")
    return Asked(number, f"OMP_NUM_THREADS={number}")


def choose(
    config: Config,
    encoder: nn.Module,
    images: int,
    device: torch.device,
    others: OthersWork,
    kept: int | None,
    asked: Asked | None = None,
) -> Threads:
    """The threads of a stage that takes ``images`` at a time; ``kept`` is the number that its checkpoint was made with.

    That number, or else one that is ``asked`` for (None: what ``asked_for`` finds), is obeyed: results depend on it in
    their last bits, so that a resumed stage keeps its own.
    """
    cores = share_of_cores(config.launch)
    fewer = f", though there {'is only 1 core' if cores == 1 else f'are only {cores} cores'} for it"
    for number, reason in (Asked(kept, "as this stage was started with"), asked or asked_for(config)):
        if number is not None:
            return Threads(number, reason + fewer * (number > cores))
    if device.type != "cpu":
        return Threads(1, "the GPU computes")
    size = images * layer_size(encoder, config.dataset.image_size)
    if size <= GRAIN:
        return Threads(1, "tiny network")
    number = min(math.ceil(size / GRAIN), cores)
    free = others.free_cores() if number > 1 else None
    if free is not None and round(free) < number:
        number = max(1, round(free), min(int(size / BUSY_GRAIN), number))
        return Threads(number, f"others use {max(0.0, cores - free):.1f} of {cores} cores")
    return Threads(number, f"{cores} cores" if number == cores else "size of the network")


def layer_size(encoder: nn.Module, image_size: int) -> float:
    """Multiply-adds of a convolution or linear layer for one image of this height and width: the mean of a pass.

    Counted in eval mode on one grey image. One layer is what threads share out between two points at which they wait.
    A network without such layers counts as one multiply-add for each parameter.
    """
    counts: list[int] = []

    def count(layer: nn.Module, given: Any, output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counts.append(output.numel() * weight.numel() // len(weight))

    layers = [part for part in encoder.modules() if isinstance(part, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with evaluating(encoder), torch.no_grad():
            encoder.forward(torch.zeros(1, 3, image_size, image_size))  # not compiled for one image
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts) / len(counts) if counts else sum(each.numel() for each in encoder.parameters())

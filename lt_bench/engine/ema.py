"""A moving average of a method's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of the trained parameters of a module, which itself stays as it is.

    After n updates the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so that the first
    weights are soon forgotten, however large the decay. Parameters that are not trained, such as those of a momentum
    encoder, and buffers are the module's own: whoever reads the average takes them as they are.
    Source: Polyak and Juditsky, 1992, exponential as in Tarvainen and Valpola, NIPS 2017; the first decays as in
    TensorFlow's ExponentialMovingAverage with ``num_updates``.  Deviation: none.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        named = module.named_parameters(remove_duplicate=False)  # a shared parameter has several names
        self.names: dict[str, Tensor] = {name: parameter for name, parameter in named if parameter.requires_grad}
        self.parameters: list[Tensor] = list({id(parameter): parameter for parameter in self.names.values()}.values())
        self.averages = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Follow the weights after a step, where ``count`` updates were made before; one dispatched operation."""
        decay = min(self.decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Context: the module has the averaged weights; afterwards it has its own again."""
        own = [parameter.detach().clone() for parameter in self.parameters]
        self.apply()
        try:
            yield
        finally:
            _copy(own, self.parameters)

    def apply(self) -> None:
        """Give the module the averaged weights for good."""
        _copy(self.averages, self.parameters)

    def state(self) -> dict[str, Tensor]:
        """The averages by the names of the module's ``state_dict()``."""
        by_parameter = {id(one): average for one, average in zip(self.parameters, self.averages, strict=True)}
        return {name: by_parameter[id(parameter)] for name, parameter in self.names.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state()``; raises KeyError for a name that is not there."""
        own = self.state()
        _copy([state[name] for name in own], list(own.values()))


@torch.no_grad()
def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)

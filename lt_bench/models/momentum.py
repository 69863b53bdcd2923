"""A copy of a network that follows it as a moving average."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError


class MomentumEncoder(nn.Module):
    """Copies of modules that are applied one after the other; their parameters follow by a moving average.

    Only parameters follow: batch-norm statistics are the copy's own, gathered in training mode.
    Source: He et al., CVPR 2020 (MoCo), section 3.2.  Deviation: none.
    Raises SettingError for a momentum outside [0, 1).
    """

    def __init__(self, *modules: nn.Module, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise SettingError("momentum", "at least 0 and below 1", momentum, 0.999)
        self.momentum = momentum
        self.layers = copy.deepcopy(nn.Sequential(*modules)).requires_grad_(False)

    @torch.no_grad()
    def update(self, *modules: nn.Module) -> None:
        """Move every parameter by 1 - momentum towards that of ``modules``, which are those of the constructor.

        One dispatched operation however many parameters there are.
        """
        sources = tuple(chain.from_iterable(module.parameters() for module in modules))
        torch._foreach_lerp_(tuple(self.layers.parameters()), sources, 1 - self.momentum)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """What the copies make of images (B, ...), without gradient."""
        keys: Tensor = self.layers(images)
        return keys

"""The optimiser of a stage."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from lt_bench.config.schema import OPTIMIZERS, Training


def build_optimizer(parameters: Iterable[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    """SGD with momentum, or Adam with betas (momentum, 0.999); weight decay is an L2 term in the gradient.

    The rate given here is that of no step: the schedule sets the rate of each.  Raises ValueError for another name,
    and for momentum 1, which Adam cannot have.
    """
    settings = training.optimizer
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters, training.lr, settings.momentum, 0.0, settings.weight_decay, settings.nesterov
        )
    if settings.name == "adam":
        # fused: the step is counted beside the parameters, where PyTorch's other forms read it on the host
        betas = (settings.momentum, 0.999)
        return torch.optim.Adam(parameters, training.lr, betas, weight_decay=settings.weight_decay, fused=True)
    raise ValueError(f"unknown optimizer {settings.name!r}; there are {', '.join(OPTIMIZERS)}")

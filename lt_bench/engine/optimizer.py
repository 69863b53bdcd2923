"""The optimiser of a stage: its class, its parameter groups, and the form it is computed in on a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lt_bench.config.optimizers import resolved
from lt_bench.config.schema import Training
from lt_bench.config.trust import load
from lt_bench.contracts import ParameterGroup


def build_optimizer(
    groups: Sequence[ParameterGroup], training: Training, device: torch.device
) -> torch.optim.Optimizer:
    """The optimiser that ``training.optimizer`` describes, SGD where it says nothing, on groups of parameters.

    The rate given here is that of no step: the schedule sets the rate of each.  Raises what the class raises.
    """
    settings = resolved(training.optimizer)
    kind = load(settings.pop("_target_"))
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    parameters = [
        {"params": group.parameters} | ({} if group.weight_decay is None else {"weight_decay": group.weight_decay})
        for group in groups
    ]
    optimizer: torch.optim.Optimizer = kind(parameters, lr=training.lr, **values, **_form(kind, device))
    return optimizer


def _form(kind: type[torch.optim.Optimizer], device: torch.device) -> dict[str, Any]:
    """The fused form, where a class has one that is worth it; of other classes PyTorch chooses, ``foreach`` on CUDA.

    Fused Adam counts its steps beside the parameters, where PyTorch's other forms read the count on the host.
    """
    fused = kind in (torch.optim.Adam, torch.optim.AdamW) or (kind is torch.optim.SGD and device.type == "cuda")
    return {"fused": True} if fused else {}

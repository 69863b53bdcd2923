"""Keeping PyTorch's compiler out of processes that do not compile: importing it takes a second and 150 MiB."""

from __future__ import annotations

import inspect
import sys
from functools import partial
from typing import Any

import torch

OPTIMIZER_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def leave_out_compiler() -> None:
    """Let optimisers be made without importing ``torch._dynamo``; to be called before the first one is made.

    PyTorch wraps some methods of its optimisers so that they are never compiled, and imports the compiler at their
    first call to do so. Where nothing is compiled the wrapped function does the same as the bare one, which is noted
    where PyTorch keeps what it has prepared. A PyTorch that keeps it elsewhere imports its compiler as usual.
    """
    for name in OPTIMIZER_METHODS:
        bare: Any = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if bare is not None and not hasattr(bare, "__dynamo_disable"):
            setattr(bare, "__dynamo_disable", bare)  # the name is PyTorch's, not to be mangled


def bare_step(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser of PyTorch step without the break that its wrapper makes in a compiled graph.

    The arithmetic is that of its class; hooks around a step, which nothing here registers, are left out.
    """
    if "torch._dynamo" not in sys.modules and type(optimizer).__module__.startswith("torch.optim."):
        step = partial(inspect.unwrap(type(optimizer).step), optimizer)
        optimizer.step = torch.no_grad()(step)  # type: ignore[method-assign]  # one object's, not the class's

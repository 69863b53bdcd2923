"""Checkpoints: plain tensors and builtins, written to a temporary name and renamed."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_bench.errors import CheckpointError
from lt_bench.files import check_archive, write_atomic


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a reader finds the old one or the new one, never a part."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint, unpickling nothing but tensors and builtins; raises CheckpointError if it is damaged."""
    try:
        check_archive(path)
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); delete its folder to start anew") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} is damaged ({reason}); delete it to start anew") from error
    return state


def result(state: dict[str, Any]) -> dict[str, Tensor]:
    """What a finished training hands on: the weights of its best epoch, else the averaged ones, else the last."""
    best = state["position"]["best"]
    weights: dict[str, Tensor] = best["model"] if best else {**state["model"], **state.get("average", {})}
    return weights

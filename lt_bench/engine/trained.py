"""What a checkpoint holds of a method: all of its state, less what no training changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.contracts import Method
from lt_bench.models.finetuned import DIGEST, FineTuned

_ENCODER = "encoder."


def trained_state(method: Method) -> dict[str, Tensor]:
    """``state_dict()`` less the frozen part of an encoder, for which its checksum stands."""
    frozen = _frozen(method)
    return {name: tensor for name, tensor in method.state_dict().items() if name not in frozen}


def load_trained(method: Method, state: dict[str, Any]) -> None:
    """Give a method what ``trained_state`` gave; raises RuntimeError where names, shapes or the frozen part differ."""
    own, frozen, digest = method.state_dict(), _frozen(method), _ENCODER + DIGEST
    if frozen and not torch.equal(own[digest].cpu(), state[digest].cpu()):
        raise RuntimeError("its frozen weights are others than those that it was trained on")
    method.load_state_dict({**{name: own[name] for name in frozen}, **state})


def parameter_counts(method: Method) -> dict[str, Any]:
    """How many parameters a method has, and trains of encoder, classifier and others, for its record."""

    def trained(part: nn.Module | None) -> int:
        return 0 if part is None else sum(one.numel() for one in part.parameters() if one.requires_grad)

    counts = {"modules": trained(method.encoder), "classifier": trained(method.classifier)}
    if others := trained(method) - sum(counts.values()):
        counts["others"] = others
    return {"trained_parameters": counts, "total_parameters": sum(one.numel() for one in method.parameters())}


def _frozen(method: Method) -> set[str]:
    encoder = getattr(method, "encoder", None)  # a method of a test or of one's own may have none
    return {_ENCODER + name for name in encoder.unchanged} if isinstance(encoder, FineTuned) else set()

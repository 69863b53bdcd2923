"""Shared by the operations: random numbers per image, and work on some images of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from lt_bench.errors import SettingError

# a NamedTuple of tensors with one row per image, or of such tuples; every operation has its own
Params = TypeVar("Params", bound=tuple[Any, ...])


def draw_uniform(shape: tuple[int, ...], bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Float32 numbers of the given shape, uniform in [low, high), on the generator's device."""
    return torch.empty(shape, device=generator.device).uniform_(*bounds, generator=generator)


def draw_applied(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Whether an operation is applied, (count,) bool, each true with ``probability``, on the generator's device."""
    return draw_uniform((count,), (0.0, 1.0), generator) < probability


def require_probability(probability: float) -> float:
    """The probability ``p`` of an operation itself; SettingError if it is outside [0, 1]."""
    if not 0 <= probability <= 1:
        raise SettingError("p", "a probability from 0 to 1", probability, 0.5)
    return probability


def per_image(values: Tensor) -> Tensor:
    """One number per image, (B,) -> (B, 1, 1, 1), ready to broadcast over channels and pixels."""
    return values[:, None, None, None]


def take(params: Params, rows: Tensor | slice) -> Params:
    """The parameters of some images, by positions (K,) or by slice."""
    return _rebuilt(params, [field[rows] if isinstance(field, Tensor) else take(field, rows) for field in params])


def join(parts: Sequence[Params]) -> Params:
    """The parameters of several batches one after the other."""
    columns = zip(*parts, strict=True)
    joined = [torch.cat(column) if isinstance(column[0], Tensor) else join(column) for column in columns]
    return _rebuilt(parts[0], joined)


def _rebuilt(params: Params, fields: list[Any]) -> Params:
    """Parameters of the same kind with other fields."""
    return type(params)(*fields) if hasattr(params, "_fields") else type(params)(fields)


def change_rows(images: Tensor, rows: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of ``images`` with the images at ``rows`` replaced by ``change`` of them.

    Shapes: images (B, C, H, W), rows (K,) int64 without repeats; change maps a copy of the chosen images (K, C, H, W)
    to something that broadcasts to it; returns (B, C, H, W), the input itself where there are no rows.
    """
    if len(rows) == 0:
        return images
    chosen = images.index_select(0, rows)
    return images.index_copy(0, rows, change(chosen).expand_as(chosen))

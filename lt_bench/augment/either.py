"""Of two ways to augment an image, the one that its coin says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lt_bench.augment.selection import change_rows, draw_applied, per_image, take


class Op(Protocol):
    """An operation, see ``pipeline.Op``."""

    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Fresh parameters."""

    def grouped(self, images: Tensor, params: Any) -> Tensor:
        """Apply; may read the host."""

    def branch_free(self, images: Tensor, params: Any) -> Tensor:
        """Apply without host reads."""


class EitherParams(NamedTuple):
    """Whether an image goes the first way, (B,) bool; the parameters of both ways, operation by operation."""

    first: Tensor
    of_first: tuple[Any, ...]
    of_second: tuple[Any, ...]


class Either:
    """The operations of ``first`` or those of ``second``, each for about half of the images; both give one size.

    Source: Park et al., CVPR 2022 (CMO), authors' code, where a coin of every image chooses the view.  Deviation: none.
    """

    def __init__(self, first: Sequence[Op], second: Sequence[Op]) -> None:
        self.first, self.second = tuple(first), tuple(second)

    def draw(self, count: int, generator: torch.Generator) -> EitherParams:
        """Coins of ``count`` images, and parameters of both ways for all of them."""
        coins = draw_applied(count, 0.5, generator)
        ways = (tuple(op.draw(count, generator) for op in ops) for ops in (self.first, self.second))
        return EitherParams(coins, *ways)

    def grouped(self, images: Tensor, params: EitherParams) -> Tensor:
        """Apply to each image the operations of its way alone; (B, 3, H, W) to the same shape."""
        sides = ((params.first, self.first, params.of_first), (~params.first, self.second, params.of_second))
        for chosen, ops, drawn in sides:
            rows = chosen.nonzero().squeeze(1)
            own = [take(one, rows) for one in drawn]

            def change(part: Tensor, ops: tuple[Op, ...] = ops, own: list[Any] = own) -> Tensor:
                for op, mine in zip(ops, own, strict=True):
                    part = op.grouped(part, mine)
                return part

            images = change_rows(images, rows, change)
        return images

    def branch_free(self, images: Tensor, params: EitherParams) -> Tensor:
        """Apply both ways to all images and choose; (B, 3, H, W) to the same shape."""
        ways = []
        for ops, drawn in ((self.first, params.of_first), (self.second, params.of_second)):
            way = images
            for op, own in zip(ops, drawn, strict=True):
                way = op.branch_free(way, own)
            ways.append(way)
        first, second = ways
        return torch.where(per_image(params.first), first, second)

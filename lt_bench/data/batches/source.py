"""The source of the engine's batches: the contract, and the base of sources that make batches without waiting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lt_bench.contracts import Batch, View


class RankShare(NamedTuple):
    """This rank's share of a step: ``batch`` is the step's slice of an epoch's order, ``rows`` our part of it."""

    step: int
    batch: slice
    rows: slice


class ImageSource(Protocol):
    """The source of the engine's batches.

    ``skipped`` (N,) bool marks the images that could not be read so far; it is (0,) where every image is in memory. It
    is part of a checkpoint.
    """

    labels: Tensor
    skipped: Tensor

    def batches(
        self,
        order: Tensor,
        shares: Sequence[RankShare],
        views: Sequence[View],
        generator: Callable[[int], torch.Generator],
        strength: Tensor | None = None,
        first: int = 0,
    ) -> Iterator[Batch]:
        """The batches of an epoch's ``order`` and ``shares``, one tensor per view; ``generator`` is that of a step.

        Those of shares before the number ``first`` are left out. A source may prepare batches ahead and several
        together, always the same ones, whatever is left out. ``strength`` is a method's, (N,).
        """

    def chunks(
        self, view: View, indices: Tensor, rows: slice, size: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """This rank's ``rows`` of the given positions in order, ``size`` at a time, under one view.

        Where images are evaluated by several crops, the plain view has all crops of an image one after the other, and
        as many images at a time as have ``size`` crops.
        """


class SyncSource:
    """A source that makes each batch when the engine asks for it, without waiting."""

    skipped = torch.zeros(0, dtype=torch.bool)

    def batches(
        self,
        order: Tensor,
        shares: Sequence[RankShare],
        views: Sequence[View],
        generator: Callable[[int], torch.Generator],
        strength: Tensor | None = None,
        first: int = 0,
    ) -> Iterator[Batch]:
        """The batch of every share from ``first`` on, one after the other."""
        for share in shares[first:]:
            yield self.batch(order[share.batch], share.rows, views, generator(share.step), strength)

    @abstractmethod
    def batch(
        self,
        indices: Tensor,
        rows: slice,
        views: Sequence[View],
        generator: torch.Generator,
        strength: Tensor | None = None,
    ) -> Batch:
        """This rank's ``rows`` of the global batch ``indices``, one tensor per view; ``strength``: a method's, (N,)."""

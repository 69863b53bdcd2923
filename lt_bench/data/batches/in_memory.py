"""Images in memory: the whole split is one uint8 tensor on the device, augmented there in batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lt_bench.augment.boosted import Boost
from lt_bench.augment.pipeline import Pipeline, slice_params
from lt_bench.augment.selection import draw_uniform
from lt_bench.contracts import Batch
from lt_bench.data.batches.source import SyncSource


def draw_boost(weight: Tensor, generator: torch.Generator) -> Boost:
    """A method's strengths of a batch (B,), and the random numbers that go with them."""
    return Boost(weight, draw_uniform((len(weight),), (0.0, 1.0), generator))


class InMemoryImages(SyncSource):
    """Images (N, 3, H, W) uint8 and labels (N,) on one device, and the views that are built for them on demand."""

    def __init__(self, images: Tensor, labels: Tensor, build_view: Callable[[str], Pipeline]) -> None:
        self.images = images
        self.labels = labels
        self._build_view = build_view
        self._pipelines: dict[str, Pipeline] = {}
        # Grouping images by operation needs host reads, which cost nothing on a CPU and stall a GPU.
        self._branch_free = images.device.type != "cpu"

    def view(self, name: str) -> Pipeline:
        """The pipeline of a view; raises UsageError for an unknown one."""
        if name not in self._pipelines:
            self._pipelines[name] = self._build_view(name)
        return self._pipelines[name]

    def batch(
        self,
        indices: Tensor,
        rows: slice,
        views: Sequence[str],
        generator: torch.Generator,
        strength: Tensor | None = None,
    ) -> Batch:
        """This rank's ``rows`` of the global batch ``indices`` (B,), each view with fresh parameters per image.

        Parameters are drawn for the whole global batch, so any number of processes sees the same images. All views of
        an image share its ``strength`` (N,) and the random number that goes with it.
        """
        mine = indices[rows]
        images, boost = self.images[mine], None
        if strength is not None:
            boost = draw_boost(strength[indices], generator)
        augmented = tuple(
            self.view(name)(images, generator, rows, len(indices), self._branch_free, boost) for name in views
        )
        return Batch(augmented, self.labels[mine], mine)

    def chunks(
        self, view: str, indices: Tensor, rows: slice, size: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """This rank's ``rows`` of the given positions in order, ``size`` at a time, under one view.

        Parameters are drawn for all positions at once, so they depend neither on ``rows`` nor on ``size``.
        """
        pipeline = self.view(view)
        drawn = pipeline.draw(len(indices), generator)
        first, end, _ = rows.indices(len(indices))
        for start in range(first, end, size):
            part = slice(start, min(start + size, end))
            images = self.images[indices[part]]
            yield pipeline.apply(images, slice_params(drawn, part), branch_free=self._branch_free)


class CachedFeatures(SyncSource):
    """Features (N, D) of a frozen encoder, computed once and used instead of images."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features = features
        self.labels = labels

    def batch(
        self,
        indices: Tensor,
        rows: slice,
        views: Sequence[str],
        generator: torch.Generator,
        strength: Tensor | None = None,
    ) -> Batch:
        """This rank's ``rows`` of the global batch; every view is the same features."""
        mine = indices[rows]
        return Batch(tuple(self.features[mine] for _ in views), self.labels[mine], mine)

    def chunks(
        self, view: str, indices: Tensor, rows: slice, size: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """This rank's ``rows`` of the features at the given positions in order, ``size`` at a time."""
        yield from self.features[indices[rows]].split(size)

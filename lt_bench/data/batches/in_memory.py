"""Images in memory: the whole split is one uint8 tensor on the device, augmented there in batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lt_bench.augment.boosted import Boost
from lt_bench.augment.described import written
from lt_bench.augment.pipeline import Params, Pipeline, images_together, join_params, slice_params
from lt_bench.augment.selection import draw_uniform
from lt_bench.contracts import Batch, View
from lt_bench.data.batches.crops import PlainCrops, images_at_once
from lt_bench.data.batches.source import RankShare, SyncSource


def draw_boost(weight: Tensor, generator: torch.Generator) -> Boost:
    """A method's strengths of a batch (B,), and the random numbers that go with them."""
    return Boost(weight, draw_uniform((len(weight),), (0.0, 1.0), generator))


class InMemoryImages(SyncSource):
    """Images (N, 3, H, W) uint8 and labels (N,) on one device, and the views that are built for them on demand.

    The plain view has ``plain`` crops of each image; None: images as they are.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        build_view: Callable[[View], Pipeline],
        plain: PlainCrops | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self._plain = plain
        self._build_view = build_view
        self._pipelines: dict[str, Pipeline] = {}
        # Grouping images by operation needs host reads, which cost nothing on a CPU and stall a GPU.
        self._branch_free = images.device.type != "cpu"

    def view(self, view: View) -> Pipeline:
        """The pipeline of a view; raises UsageError for an unknown one."""
        if (name := written(view)) not in self._pipelines:
            self._pipelines[name] = self._build_view(view)
        return self._pipelines[name]

    def batch(
        self,
        indices: Tensor,
        rows: slice,
        views: Sequence[View],
        generator: torch.Generator,
        strength: Tensor | None = None,
    ) -> Batch:
        """This rank's ``rows`` of the global batch ``indices`` (B,), each view with fresh parameters per image.

        Parameters are drawn for the whole global batch, so any number of processes sees the same images. All views of
        an image share its ``strength`` (N,) and the random number that goes with it.
        """
        mine = indices[rows]
        drawn = self._draw(indices, rows, views, generator, strength)
        return Batch(self._augment(mine, views, drawn), self._labelled(mine, views, drawn), mine)

    def batches(
        self,
        order: Tensor,
        shares: Sequence[RankShare],
        views: Sequence[View],
        generator: Callable[[int], torch.Generator],
        strength: Tensor | None = None,
        first: int = 0,
    ) -> Iterator[Batch]:
        """The batch of every share from ``first`` on; without branches, as many at once as fill a piece of a pipeline.

        A kernel for all of them takes hardly longer than one for a small batch. Which ones are together does not depend
        on ``first``: kernels may sum in another order for another number of images.
        """
        if not self._branch_free:
            yield from super().batches(order, shares, views, generator, strength, first)
            return
        largest = max((len(order[share.batch][share.rows]) for share in shares), default=1)
        together = max(1, images_together(self.images) // max(1, largest))
        for start in range(first // together * together, len(shares), together):
            some = shares[start : start + together]
            indices = [order[share.batch] for share in some]
            mine = [batch[share.rows] for batch, share in zip(indices, some, strict=True)]
            drawn = [
                self._draw(batch, share.rows, views, generator(share.step), strength)
                for batch, share in zip(indices, some, strict=True)
            ]
            joined, sizes = torch.cat(mine), [len(batch) for batch in mine]
            params = [join_params(parts) for parts in zip(*drawn, strict=True)]
            augmented, labels = self._augment(joined, views, params), self._labelled(joined, views, params)
            made = zip(*(view.split(sizes) for view in augmented), strict=True)
            ready = [*zip(made, labels.split(sizes), mine, strict=True)]
            yield from (Batch(*parts) for parts in ready[max(0, first - start) :])

    def _draw(
        self,
        indices: Tensor,
        rows: slice,
        views: Sequence[View],
        generator: torch.Generator,
        strength: Tensor | None,
    ) -> list[list[Params]]:
        """The parameters of every view for this rank's ``rows`` of a global batch."""
        boost = None if strength is None else draw_boost(strength[indices], generator)
        return [slice_params(self.view(name).draw(len(indices), generator, boost), rows) for name in views]

    def _augment(self, mine: Tensor, views: Sequence[View], drawn: list[list[Params]]) -> tuple[Tensor, ...]:
        """All views of the images at these positions."""
        images = self.images[mine]
        pairs = zip(views, drawn, strict=True)
        return tuple(self.view(name).apply(images, params, branch_free=self._branch_free) for name, params in pairs)

    def _labelled(self, mine: Tensor, views: Sequence[View], drawn: list[list[Params]]) -> Tensor:
        """The labels of the images at these positions, as their views have them."""
        return self.labels[mine]

    def chunks(
        self, view: View, indices: Tensor, rows: slice, size: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """This rank's ``rows`` of the given positions in order, ``size`` at a time; see ``ImageSource``.

        Parameters are drawn for all positions at once, so they depend neither on ``rows`` nor on ``size``.
        """
        pipeline = self.view(view)
        drawn = pipeline.draw(len(indices), generator)
        plain = None if pipeline.ops else self._plain
        step = size if plain is None else images_at_once(plain, size)
        first, end, _ = rows.indices(len(indices))
        for start in range(first, end, step):
            part = slice(start, min(start + step, end))
            images = self.images[indices[part]]
            if plain is not None:
                images = _cut(plain, images)
            yield pipeline.apply(images, slice_params(drawn, part), branch_free=self._branch_free)


def _cut(plain: PlainCrops, images: Tensor) -> Tensor:
    """The crops of images (B, 3, H, W), all of one after the other, cut as a predictor cuts those of files."""
    cut = [plain.cut(pixels, 0) for pixels in images.permute(0, 2, 3, 1).cpu().numpy()]
    return torch.stack(cut).flatten(0, -4).permute(0, 3, 1, 2).to(images.device)


class CachedFeatures(SyncSource):
    """Features (N, D) of a frozen encoder, computed once and used instead of images."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features = features
        self.labels = labels

    def batch(
        self,
        indices: Tensor,
        rows: slice,
        views: Sequence[View],
        generator: torch.Generator,
        strength: Tensor | None = None,
    ) -> Batch:
        """This rank's ``rows`` of the global batch; every view is the same features."""
        mine = indices[rows]
        return Batch(tuple(self.features[mine] for _ in views), self.labels[mine], mine)

    def chunks(
        self, view: View, indices: Tensor, rows: slice, size: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """This rank's ``rows`` of the features at the given positions in order, ``size`` at a time."""
        yield from self.features[indices[rows]].split(size)

"""Scenes on disk: worker processes read, resize, cut and mirror image and mask; colours change on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lt_bench.augment.described import written
from lt_bench.augment.pipeline import Pipeline, slice_params
from lt_bench.contracts import Batch, View
from lt_bench.data.batches.crops import CentralCrops
from lt_bench.data.batches.from_disk import DiskImages, Due, WorkerPool, for_workers
from lt_bench.data.batches.scene_crops import SceneCrops, fitted, resized
from lt_bench.data.batches.scenes import STAYING
from lt_bench.data.batches.source import RankShare
from lt_bench.data.batches.worker import Loaded, Reader, Task
from lt_bench.data.files.rgb import BadImage
from lt_bench.data.files.scene_pixels import ScenePixels
from lt_bench.errors import DataError, UsageError


class Whole(NamedTuple):
    """Scenes as they are evaluated: the image fitted to a size, the mask as it is stored."""

    size: int


class SceneReader(Reader):
    """Does tasks of scenes: those of ``SceneCrops`` fill a batch, those of ``Whole`` have one scene each."""

    images: ScenePixels

    def __getitem__(self, task: Task) -> Loaded:
        """Images (B, S, S, 3), masks (B, S, S) and heights and widths (B, 2) of what is inside of the scene."""
        (crops,), positions = task.crops, torch.from_numpy(task.positions.copy())
        none, found = torch.zeros(0, dtype=torch.int64), []
        try:
            for number, position in enumerate(task.positions.tolist()):
                pixels, mask = self.images.pair(position)
                if isinstance(crops, SceneCrops):
                    found.append(tuple(crops.cut(pixels, mask, number)))
                else:
                    size = fitted(mask.shape, crops.size)
                    found.append((resized(pixels, *size), torch.from_numpy(mask.copy()), torch.tensor(size)))
        except BadImage as error:
            return Loaded((), positions, none, str(error))
        return Loaded(tuple(map(torch.stack, zip(*found, strict=True))), positions, none, "")


class DiskScenes(DiskImages):
    """The scenes of a part, read again in every epoch; see ``DiskImages``. ``size`` is that of the crops.

    ``labels`` are (N,) zeros: the masks are read with the images.
    """

    choice = ""  # no scene is left out

    def __init__(
        self,
        images: ScenePixels,
        names: Sequence[str],
        device: torch.device,
        build_view: Callable[[View], Pipeline],
        size: int,
        flip: bool,
        workers: int,
    ) -> None:
        labels = torch.zeros(len(names), dtype=torch.int64, device=device)
        super().__init__(images, names, labels, build_view, CentralCrops(size, 1.0), workers)
        self.reader: SceneReader = SceneReader(images, labels.cpu().numpy(), skip=False)
        self.size, self.flip = size, flip
        self._pipelines: dict[str, Pipeline] = {}

    def unreadable(self, contents: Mapping[str, str], title: str, shown: bool) -> list[str]:
        """As of images, each known by its content and by that of its mask."""
        pairs = [(name, self.reader.images.mask_name(position)) for position, name in enumerate(self.names)]
        known = {name: f"{contents[name]} {contents[mask]}" for name, mask in pairs if {name, mask} <= contents.keys()}
        return super().unreadable(known, title, shown)

    def colours(self, view: View) -> Pipeline:
        """What a view does to colours; raises UsageError for one that moves pixels, which is the source's to do."""
        if (name := written(view)) not in self._pipelines:
            pipeline = self._build_view(view)
            if other := [op for op in pipeline.ops if not isinstance(op, STAYING)]:
                raise UsageError(
                    f"the view {name} moves pixels by {type(other[0]).__name__}; scenes in files are resized, cut and "
                    "mirrored with their masks before it, and views change their colours alone; set "
                    "method.views=[[photometric_distortion]]"
                )
            self._pipelines[name] = pipeline
        return self._pipelines[name]

    def batches(
        self,
        order: Tensor,
        shares: Sequence[RankShare],
        views: Sequence[View],
        generator: Callable[[int], torch.Generator],
        strength: Tensor | None = None,
        first: int = 0,
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, read ahead by workers that stay for the next epoch; see ``ImageSource``."""
        positions, colours = order.cpu(), self.colours(views[0])
        if self._trainer is None:
            self._trainer = WorkerPool(self.reader, self._workers, self.labels.device)

        def due(share: RankShare) -> Due:
            batch, draws = positions[share.batch], generator(share.step)
            crops = SceneCrops.draw(self.size, self.flip, len(batch), for_workers(draws)).take(share.rows)
            params = slice_params(colours.draw(len(batch), draws), share.rows)
            return Due(Task(batch[share.rows].numpy(), (crops,)), (), (params,))

        for (_, _, (params,)), loaded in self._read(self._trainer, map(due, shares[first:])):
            pixels, masks, inside = (one.to(self.labels.device, non_blocking=True) for one in loaded.views)
            images = colours.apply(pixels.permute(0, 3, 1, 2), params, branch_free=self._branch_free)
            yield Batch((_only_inside(images, inside),), masks, loaded.positions.to(masks.device))

    def evaluated(self, rows: slice, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Some of the scenes one at a time, fitted to ``image_size``, and their masks; see ``EvaluatedScenes``."""
        pool, plain = WorkerPool(self.reader, self._workers, self.labels.device), self.colours("plain")
        positions = torch.arange(len(self.labels))[rows].split(1)
        tasks = (Due(Task(one.numpy(), (Whole(self.size),)), (), ()) for one in positions)
        try:
            for _, loaded in self._read(pool, tasks):
                pixels, mask, _ = (one.to(self.labels.device, non_blocking=True) for one in loaded.views)
                yield plain.apply(pixels.permute(0, 3, 1, 2), [], branch_free=self._branch_free), mask
        finally:
            pool.close()

    def _read(self, pool: WorkerPool, tasks: Iterable[Due]) -> Iterator[tuple[Due, Loaded]]:
        """Every task with its result, in order; raises DataError for a scene that cannot be used."""
        for due, loaded in pool.run(tasks):
            if loaded.problem:
                raise DataError(
                    f"{loaded.problem}; python -m lt_bench.data check, with the same overrides, finds all such scenes"
                )
            yield due, loaded


def _only_inside(images: Tensor, inside: Tensor) -> Tensor:
    """Normalised images (B, 3, S, S), 0 beside the height and width (B, 2) of their scenes."""
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
    within = (rows[:, None] < inside[:, 0, None, None]) & (columns < inside[:, 1, None, None])
    return images * within[:, None]

"""Images on disk: worker processes read, decode, cut and mirror them; the rest is done on the device in batch."""

from __future__ import annotations

import signal
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lt_bench.augment.described import written
from lt_bench.augment.pipeline import Params, Pipeline, slice_params
from lt_bench.contracts import Batch, View
from lt_bench.data.batches.crops import PlainCrops, SplitView, images_at_once
from lt_bench.data.batches.in_memory import draw_boost
from lt_bench.data.batches.source import RankShare
from lt_bench.data.batches.worker import (
    Loaded,
    NoSharedMemory,
    Reader,
    Task,
    ignore_stop_signals,
    into_shared_memory,
    stop_signals_blocked,
)
from lt_bench.data.files.pixels import PixelSource
from lt_bench.data.files.readable import unreadable
from lt_bench.errors import DataError

PREFETCH = 2  # tasks that every worker prepares ahead
NO_ROOM = (
    "shared memory (/dev/shm), which workers write images into, is full: set dataset.workers=0 or fewer workers, or "
    "give a container more (docker run --shm-size=16g, or --ipc=host)"
)
NO_MEMORY = (
    "a process that reads images was killed, perhaps for memory: set dataset.workers=0 or fewer workers, or ask a "
    "cluster for more with launch.mem_gb=GB"
)


class Due(NamedTuple):
    """A task, and the parameters of the operations on the device, one entry per view."""

    task: Task
    views: tuple[SplitView, ...]
    params: tuple[list[Params], ...]


class DiskImages:
    """The images of a split with names and labels (N,) on a device, read again in every epoch by ``workers`` processes.

    Crops are drawn here, for whole batches, and sent to the workers, so the images depend neither on the number of
    workers nor on that of processes. ``workers`` 0 reads in this process. Where ``skip``, images that cannot be read
    are replaced by others of their class and marked in ``skipped`` (N,).
    """

    choice = "dataset.on_bad_image=skip trains without them"  # what can be done about images that cannot be read

    def __init__(
        self,
        images: PixelSource,
        names: Sequence[str],
        labels: Tensor,
        build_view: Callable[[View], Pipeline],
        plain: PlainCrops,
        workers: int,
        skip: bool = False,
    ) -> None:
        self.names, self.labels = names, labels
        self.skipped = torch.zeros_like(labels, dtype=torch.bool)
        self.reader = Reader(images, labels.cpu().numpy(), skip)
        self._build_view, self._plain, self._workers = build_view, plain, workers
        self._views: dict[str, SplitView] = {}
        self._branch_free = labels.device.type != "cpu"
        self._trainer: WorkerPool | None = None

    def unreadable(self, contents: Mapping[str, str], title: str, shown: bool) -> list[str]:
        """What is wrong with images that cannot be read; see ``files.readable``."""
        return unreadable(self.reader.images, self.names, contents, self._workers, title, shown)

    def view(self, view: View) -> SplitView:
        """A view in its two parts; raises UsageError for an unknown one, or one that cannot be divided."""
        if (name := written(view)) not in self._views:
            self._views[name] = SplitView(name, self._build_view(view), self._plain)
        return self._views[name]

    def close(self) -> None:
        """End the workers that read ahead for training; further batches start new ones."""
        if self._trainer is not None:
            self._trainer.close()
            self._trainer = None

    def batches(
        self,
        order: Tensor,
        shares: Sequence[RankShare],
        views: Sequence[View],
        generator: Callable[[int], torch.Generator],
        strength: Tensor | None = None,
        first: int = 0,
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, read ahead by workers that stay for the next epoch; see ``ImageSource``.

        Raises DataError for an image that cannot be read, unless such are skipped.
        """
        positions, parts = order.cpu(), tuple(map(self.view, views))
        if self._trainer is None:
            self._trainer = WorkerPool(self.reader, self._workers, self.labels.device)
        due = (
            self._due(
                positions[share.batch],
                share.rows,
                parts,
                generator(share.step),
                None if strength is None else strength[order[share.batch]],
            )
            for share in shares[first:]
        )
        for augmented, where in self._results(self._trainer, due):
            yield Batch(augmented, self.labels[where], where)

    def chunks(
        self, view: View, indices: Tensor, rows: slice, size: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """This rank's ``rows`` of the given positions in order, ``size`` crops at a time; see ``ImageSource``.

        Parameters are drawn for all positions at once; the workers are shut down afterwards.
        """
        drawn = self._due(indices.cpu(), rows, (self.view(view),), generator)
        pool = WorkerPool(self.reader, self._workers, self.labels.device)
        step = images_at_once(drawn.task.crops[0], size)
        starts = range(0, len(drawn.task.positions), step)
        try:
            for augmented, _ in self._results(pool, (_part(drawn, slice(start, start + step)) for start in starts)):
                yield augmented[0]
        finally:
            pool.close()

    def _due(
        self,
        batch: Tensor,
        rows: slice,
        views: tuple[SplitView, ...],
        generator: torch.Generator,
        strength: Tensor | None = None,
    ) -> Due:
        """The work for this rank's ``rows`` of a batch whose parameters are drawn for the whole batch.

        ``strength`` is that of the batch (B,): all views of an image share it.
        """
        crops = for_workers(generator)
        boost = None if strength is None else draw_boost(strength, generator)
        count = len(batch)
        cuts = tuple(view.draw(count, crops).take(rows) for view in views)
        params = tuple(slice_params(view.on_device.draw(count, generator, boost), rows) for view in views)
        return Due(Task(batch[rows].numpy(), cuts), views, params)

    def _results(self, pool: WorkerPool, due: Iterable[Due]) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Finished views of every task in order, and the positions of the images in them, on the device."""
        for (_, views, params), loaded in pool.run(due):
            if len(loaded.skipped):
                self.skipped[loaded.skipped.to(self.labels.device)] = True
            if loaded.problem:
                choice = "" if self.reader.skip or not self.choice else f", and {self.choice} (evaluation never does)"
                raise DataError(
                    f"{loaded.problem}; python -m lt_bench.data check, with the same overrides, finds all such images"
                    f"{choice}"
                )
            device = self.labels.device
            finished = tuple(
                view.on_device.apply(
                    pixels.flatten(0, -4).to(device, non_blocking=True).permute(0, 3, 1, 2),
                    drawn,
                    branch_free=self._branch_free,
                )
                for view, pixels, drawn in zip(views, loaded.views, params, strict=True)
            )
            yield finished, loaded.positions.to(device, non_blocking=True)


def _part(due: Due, rows: slice) -> Due:
    """Some images of a task."""
    task = Task(due.task.positions[rows], tuple(crops.take(rows) for crops in due.task.crops))
    return Due(task, due.views, tuple(slice_params(drawn, rows) for drawn in due.params))


def for_workers(generator: torch.Generator) -> torch.Generator:
    """A generator on the CPU whose stream is a function of the seed of another generator, on any device."""
    crops = torch.Generator().manual_seed(generator.initial_seed())
    return crops.manual_seed(int(torch.randint(2**62, (), generator=crops)))


class _TaskSampler:
    """The sampler of a ``DataLoader``: tasks in order, and those whose results have not arrived yet."""

    def __init__(self) -> None:
        self.tasks: Iterable[Due] = ()
        self.taken: deque[Due] = deque()

    def __iter__(self) -> Iterator[Task]:
        for due in self.tasks:
            self.taken.append(due)
            yield due.task


class WorkerPool:
    """Worker processes that do tasks in order and ahead; ``close`` shuts them down."""

    def __init__(self, reader: Reader, workers: int, device: torch.device) -> None:
        self._sampler = _TaskSampler()
        several: dict[str, Any] = {}
        if workers:
            several = {"prefetch_factor": PREFETCH, "persistent_workers": True, "worker_init_fn": ignore_stop_signals}
        with warnings.catch_warnings():  # more workers than cores may be set
            warnings.simplefilter("ignore", UserWarning)
            self._loader: DataLoader[Loaded] = DataLoader(
                reader,  # type: ignore[arg-type]  # a data set's items are what the sampler yields
                batch_size=None,
                sampler=self._sampler,
                num_workers=workers,
                collate_fn=into_shared_memory,  # type: ignore[arg-type]
                pin_memory=device.type == "cuda",
                generator=torch.Generator(),  # does not use the global one
                **several,
            )
        self.close = weakref.finalize(self, _end_workers, self._loader)

    def run(self, tasks: Iterable[Due]) -> Iterator[tuple[Due, Loaded]]:
        """Every task with its result, in order; results of an earlier, unfinished run are dropped.

        Raises DataError where shared memory is full, and where a worker was killed.
        """
        self._sampler.tasks, self._sampler.taken = tasks, deque()
        try:
            with stop_signals_blocked():  # until the workers ignore them
                results = iter(self._loader)
            for loaded in results:
                yield self._sampler.taken.popleft(), loaded
        except RuntimeError as error:  # a worker's own, or DataLoader's where one died of it
            if _any_died_of(signal.SIGKILL, self._loader):
                raise DataError(NO_MEMORY) from error
            if not isinstance(error, NoSharedMemory) and not _any_died_of(signal.SIGBUS, self._loader):
                raise
            raise DataError(NO_ROOM) from error


def _any_died_of(number: int, loader: DataLoader[Any]) -> bool:
    """Whether a signal killed a worker; SIGBUS is what a write into full shared memory ends in."""
    return any(worker.exitcode == -number for worker in getattr(loader._iterator, "_workers", ()))


def _end_workers(loader: DataLoader[Any]) -> None:
    """Shut the workers down; at exit this precedes multiprocessing's own clean-up, which sends them SIGTERM."""
    iterator, loader._iterator = loader._iterator, None
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()

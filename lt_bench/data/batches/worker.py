"""The worker processes: read and decode each image once and cut all its views from it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from lt_bench.data.batches.crops import Crops
from lt_bench.data.files.decoders import Decoded, Reduction
from lt_bench.data.files.image_file import OutsideRoot
from lt_bench.data.files.pixels import PixelSource
from lt_bench.data.files.rgb import BadImage

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)  # signals that stop a run


class Task(NamedTuple):
    """Some images by their positions in the split, (B,) int64, and the crops of each view."""

    positions: NDArray[np.int64]
    crops: tuple[Crops, ...]


class Loaded(NamedTuple):
    """A task's result: views (B, size, size, 3) uint8 and the positions (B,) of the images in them.

    With several crops of each image a view is (B, crops, size, size, 3).
    ``skipped`` are positions that could not be read and were replaced; ``problem`` says why a task failed, and is empty
    where it succeeded.
    """

    views: tuple[Tensor, ...]
    positions: Tensor
    skipped: Tensor
    problem: str


class NoSharedMemory(RuntimeError):
    """Shared memory is full where a worker writes its images."""


class Reader:
    """Does tasks, as the data set of a ``DataLoader``; labels (N,) decide which images may replace another.

    Where ``skip``, an image that cannot be read is replaced by the next one of its class in the list; else the task
    fails.
    """

    def __init__(self, images: PixelSource, labels: NDArray[np.int64], skip: bool) -> None:
        self.images, self.labels, self.skip = images, labels, skip

    def __getitem__(self, task: Task) -> Loaded:
        """The views of a task, filled image by image."""
        count = len(task.positions)
        views = tuple(torch.empty(count, *crops.shape, 3, dtype=torch.uint8) for crops in task.crops)
        positions = torch.from_numpy(task.positions.copy())
        skipped: list[int] = []
        try:
            for number, position in enumerate(task.positions.tolist()):
                most = partial(_most, task.crops, number)
                image, positions[number] = self._read(position, most, skipped)
                for view, crops in zip(views, task.crops, strict=True):
                    view[number] = crops.cut(image.pixels, number, image.full)
        except BadImage as error:
            return Loaded((), positions, torch.tensor(skipped, dtype=torch.int64), str(error))
        return Loaded(views, positions, torch.tensor(skipped, dtype=torch.int64), "")

    def _read(self, position: int, most: Reduction, skipped: list[int]) -> tuple[Decoded, int]:
        """The image at a position, or the first readable one of its class after it, and its position."""
        try:
            return self.images.reduced(position, most), position
        except BadImage as error:
            if not self.skip or isinstance(error, OutsideRoot):
                raise
        skipped.append(position)
        same = np.flatnonzero(self.labels == self.labels[position])
        start = int(np.searchsorted(same, position)) + 1
        for other in np.roll(same, -start)[:-1].tolist():
            try:
                return self.images.reduced(other, most), other
            except BadImage:
                skipped.append(other)
        raise BadImage(f"no image of class {self.labels[position]} can be read")


def _most(views: tuple[Crops, ...], number: int, height: int, width: int) -> int:
    """By how much an image may be reduced for all its crops."""
    return min(crops.reduction(number, height, width) for crops in views)


def into_shared_memory(loaded: Loaded) -> Loaded:
    """The collate function of a ``DataLoader``: a task is a batch already; a worker moves it into shared memory here.

    In the thread that sends results, full shared memory would only be printed, and the run would wait forever. Raises
    NoSharedMemory.
    """
    if get_worker_info() is not None:
        try:
            for tensor in (*loaded.views, loaded.positions, loaded.skipped):
                tensor.share_memory_()
        except RuntimeError as error:
            raise NoSharedMemory(str(error)) from error
    return loaded


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Context: signals that stop a run stay pending; in a worker that is started here until ``ignore_stop_signals``."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals(worker: int) -> None:
    """In a worker, ignore the signals that stop a run: its parent shuts it down after the last step.

    A terminal sends Ctrl-C, or SIGHUP where it is closed, to all its processes, a scheduler its warning (SIGUSR2) and
    SIGTERM to all processes of a job. Only the first SIGTERM is ignored: a second one, such as the parent's to a worker
    that hangs, ends the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _ignore_once(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

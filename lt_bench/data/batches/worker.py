"""What worker processes run: read and decode each image once and cut all its views from it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from lt_bench.data.batches.crops import Crops, Pixels
from lt_bench.data.files.image_file import BadImage
from lt_bench.data.files.pixels import Images

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)  # what asks a run to stop


class Task(NamedTuple):
    """Some images by their positions in the split, (B,) int64, and the crops of each view."""

    positions: NDArray[np.int64]
    crops: tuple[Crops, ...]


class Loaded(NamedTuple):
    """A task's result: views (B, size, size, 3) uint8 and the positions (B,) of what is in them.

    ``skipped`` are positions that could not be read and whose place another image has; ``problem`` is what is wrong
    where the task could not be done.
    """

    views: tuple[Tensor, ...]
    positions: Tensor
    skipped: Tensor
    problem: str


class Reader:
    """Does tasks, as the data set of a ``DataLoader``; labels (N,) say what may stand in for what.

    Where ``skip``, an image that cannot be read is replaced by the next one of its class in the list; else the task
    has a problem.
    """

    def __init__(self, images: Images, labels: NDArray[np.int64], skip: bool) -> None:
        self.images, self.labels, self.skip = images, labels, skip

    def __getitem__(self, task: Task) -> Loaded:
        """The views of a task, filled image by image."""
        count = len(task.positions)
        views = tuple(torch.empty(count, crops.size, crops.size, 3, dtype=torch.uint8) for crops in task.crops)
        positions = torch.from_numpy(task.positions.copy())
        skipped: list[int] = []
        try:
            for number, position in enumerate(task.positions.tolist()):
                pixels, positions[number] = self._read(position, skipped)
                for view, crops in zip(views, task.crops, strict=True):
                    view[number] = crops.cut(pixels, number)
        except BadImage as error:
            return Loaded((), positions, torch.tensor(skipped, dtype=torch.int64), str(error))
        return Loaded(views, positions, torch.tensor(skipped, dtype=torch.int64), "")

    def _read(self, position: int, skipped: list[int]) -> tuple[Pixels, int]:
        """The image at a position, or the first readable one of its class after it, and where that is."""
        try:
            return self.images[position], position
        except BadImage:
            if not self.skip:
                raise
        skipped.append(position)
        same = np.flatnonzero(self.labels == self.labels[position])
        start = int(np.searchsorted(same, position)) + 1
        for other in np.roll(same, -start)[:-1].tolist():
            try:
                return self.images[other], other
            except BadImage:
                skipped.append(other)
        raise BadImage(f"no image of class {self.labels[position]} can be read")


def hand_over(loaded: Loaded) -> Loaded:
    """What a ``DataLoader`` calls to collate: a task is a batch already; a worker puts it into shared memory here.

    Left to the thread that sends it, a lack of shared memory would be printed there and waited for without end. Raises
    RuntimeError with the words «shared memory».
    """
    if get_worker_info() is not None:
        for tensor in (*loaded.views, loaded.positions, loaded.skipped):
            tensor.share_memory_()
    return loaded


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that ask for a stop come afterwards; a worker that is started here has them from ``shield`` on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def shield(worker: int) -> None:
    """Let a worker live through the signals that ask the whole group to stop: its parent ends it after its last step.

    Ctrl-C reaches every process of a terminal, a scheduler's warning (SIGUSR2) and SIGTERM every process of a job; a
    second SIGTERM, such as the parent's to a worker that hangs, is obeyed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _obey_the_next)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _obey_the_next(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

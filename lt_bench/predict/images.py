"""Which images are meant: files, folders, lists; and reading them in worker processes, broken ones included."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lt_bench.data.batches.worker import NoSharedMemory, ignore_stop_signals, stop_signals_blocked
from lt_bench.data.files.rgb import BadImage
from lt_bench.data.sources.folders import IMAGES, NOT_READ, TOOLS
from lt_bench.data.transform import Transform
from lt_bench.errors import DataError

PREFETCH = 2  # batches that every worker prepares ahead


class Seen(NamedTuple):
    """Some images by number: pixels (B, ...) uint8 of the readable ones, as ``Transform.cut`` makes them.

    ``problems`` is what is wrong with the others.
    """

    numbers: list[int]
    pixels: Tensor
    problems: dict[int, str]


def found(paths: Iterable[str]) -> list[str]:
    """Files as they are named, and the images of folders at any depth in alphabetical order.

    Of folders, hidden files, those of tools, what has no suffix of an image and links to folders are passed over.
    Images in a format that is not read, and folders that cannot be, are among the names, so that they are said to be
    broken.
    """
    names = list[str]()
    for path in paths:
        names += _images_below(path) if os.path.isdir(path) else [path]
    return names


def _images_below(folder: str) -> Iterator[str]:
    unread = list[str]()
    for place, folders, files in os.walk(folder, onerror=lambda error: unread.append(str(error.filename))):
        folders[:] = sorted(name for name in folders if _counts(name))
        for name in sorted(files):
            if _counts(name) and os.path.splitext(name)[1].lower() in IMAGES | NOT_READ:
                yield os.path.join(place, name)
    yield from unread


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in TOOLS


class _Files:
    """The data set of a ``DataLoader`` whose items are batches: one list of numbers, one ``Seen``."""

    def __init__(self, names: Sequence[str], transform: Transform) -> None:
        self.names, self.transform = names, transform

    def __getitem__(self, numbers: list[int]) -> Seen:
        pixels = torch.empty(len(numbers), *self.transform.crops.shape, 3, dtype=torch.uint8)
        problems, good = dict[int, str](), list[int]()
        for number in numbers:
            try:
                pixels[len(good)] = self.transform.cut(self.names[number])
            except BadImage as error:
                problems[number] = str(error)
            else:
                good.append(number)
        return Seen(good, pixels[: len(good)], problems)


def batches(names: Sequence[str], transform: Transform, batch_size: int, workers: int) -> Iterator[Seen]:
    """The images of files, so many at a time and in order, read ahead by worker processes (0: by this one).

    Raises DataError where a worker was killed or shared memory is full.
    """
    several: dict[str, Any] = {}
    if workers:
        several = {"prefetch_factor": PREFETCH, "worker_init_fn": ignore_stop_signals}
    parts = [list(range(start, min(start + batch_size, len(names)))) for start in range(0, len(names), batch_size)]
    with warnings.catch_warnings():  # more workers than cores may be asked for
        warnings.simplefilter("ignore", UserWarning)
        loader: DataLoader[Seen] = DataLoader(
            _Files(names, transform),  # type: ignore[arg-type]  # a data set's items are what the sampler yields
            batch_size=None,
            sampler=parts,
            num_workers=workers,
            **several,
        )
    try:
        with stop_signals_blocked():  # until the workers ignore them
            seen = iter(loader)
        yield from seen
    except (NoSharedMemory, RuntimeError) as error:
        if "worker" not in type(error).__name__ and not workers:
            raise
        raise DataError(f"a process that reads images ended ({str(error).splitlines()[0]}); try --workers 0") from error

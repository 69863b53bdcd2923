"""Everything that is wrong with a data set of image files, found before a run finds it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from lt_bench.compose import UsageError
from lt_bench.config import Config
from lt_bench.data.image_file import BadImage, decode, read_below, real_root
from lt_bench.data.source import read_source
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import Problem

CHUNK = 64  # images per task of a worker

Result = TypeVar("Result")


def read_lists(config: Config) -> ImageLists:
    """The lists of a data set; raises UsageError for one that is not made of files, DataError as ``read`` does."""
    found = read_source(config)
    if not isinstance(found, ImageLists):
        raise UsageError(
            f"dataset={config.dataset.name} is verified whenever it is read; name a data set of image files"
        )
    return found


def find_problems(lists: ImageLists, workers: int, shown: bool) -> list[Problem]:
    """The problems of the lists and of every file they name, sorted by list and line; shows its progress."""
    problems = list(lists.problems)
    for part, files in lists.parts().items():
        examine = partial(_examine, real_root(lists.root))
        verdicts = in_parallel(examine, files.names, workers, f"checking {part}", shown)
        lines = files.lines.tolist()
        problems += [
            Problem(files.origin, line, what) for line, what in zip(lines, verdicts, strict=True) if what is not None
        ]
    return sorted(problems, key=lambda problem: (problem.origin, problem.line))


def _examine(root: str, name: str) -> str | None:
    """What is wrong with a file."""
    try:
        decode(read_below(root, name), name)
    except BadImage as error:
        return str(error)
    return None


def in_parallel(
    function: Callable[[str], Result], names: Sequence[str], workers: int, title: str, shown: bool
) -> Iterator[Result]:
    """``function`` of every name, in order, in some processes (0: in this one), with a progress bar on stderr."""
    with tqdm(desc=title, total=len(names), unit="image", disable=not shown) as bar:
        if workers == 0:
            for name in names:
                yield function(name)
                bar.update()
            return
        pool = ProcessPoolExecutor(workers, initializer=_leave_ctrl_c_to_the_parent)
        try:
            for result in pool.map(function, names, chunksize=CHUNK):
                yield result
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def default_workers() -> int:
    """One process per core that this process may use, shared among the processes that a launcher started here."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

"""A function of many items in several processes, with a progress bar."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

from tqdm import tqdm

CHUNK = 64  # items per message to a process

Item = TypeVar("Item")
Result = TypeVar("Result")

_function: Callable[[Any], Any]


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str, shown: bool
) -> Iterator[Result]:
    """``function`` of every item, in order, in some processes (0: in this one), with a progress bar on stderr.

    Only a few results are kept ahead of the reader.
    """
    with tqdm(desc=title, total=len(items), unit="image", disable=not shown) as bar:
        if workers == 0:
            for item in items:
                yield function(item)
                bar.update()
            return
        # the function may hold a whole index, so it is sent to each process once
        pool = ProcessPoolExecutor(workers, initializer=_begin, initargs=(function,))
        try:
            due: deque[Future[list[Any]]] = deque()
            for start in range(0, len(items), CHUNK):
                due.append(pool.submit(_call, items[start : start + CHUNK]))
                if len(due) > 2 * workers:  # limits the results that are kept for a slow reader
                    yield from _counted(due.popleft().result(), bar)
            while due:
                yield from _counted(due.popleft().result(), bar)
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    for number in (signal.SIGINT, signal.SIGHUP):  # the parent handles Ctrl-C and a terminal that is closed
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _call(items: Sequence[Any]) -> list[Any]:
    return [_function(item) for item in items]


def _counted(results: list[Any], bar: Any) -> Iterator[Any]:
    for result in results:
        yield result
        bar.update()

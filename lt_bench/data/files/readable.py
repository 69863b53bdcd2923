"""Images that are read before a run depends on them, each once: a file that stays what it is, is not read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import PIL

from lt_bench.data.files.digests import NONE, cache_folder
from lt_bench.data.files.parallel import CHUNK, in_parallel
from lt_bench.data.files.pixels import PixelSource
from lt_bench.data.files.rgb import BadImage
from lt_bench.files import read_bytes, write_atomic

FIRST_LINE = f"lt_bench readable 1, Pillow {PIL.__version__}"  # another decoder may refuse others


def unreadable(images: PixelSource, names: Sequence[str], workers: int, title: str, shown: bool) -> list[str]:
    """What is wrong with each of some images, those of ``names`` in their order, that cannot be read; [] for none.

    Those that were read before, and whose files have not changed since, are not read again. What was read is kept also
    where others cannot be, and where the reading is interrupted; a cache folder that cannot be written is one without
    a memory.
    """
    cache = cache_folder() / f"readable-{hashlib.sha256(os.fsencode(images.place)).hexdigest()[:24]}.txt"
    known, stamps = _read(cache), [images.stamp(position) for position in range(len(names))]
    left = [
        place for place, name in enumerate(names) if known.get(name) != stamps[place] or stamps[place] == NONE.stamp
    ]
    few = min(workers, len(left) // CHUNK)  # the start of a process takes as long as some images
    problems, new = list[str](), dict[str, str]()
    try:
        verdicts = in_parallel(partial(problem_of, images), left, few, title, shown and bool(left))
        for place, problem in zip(left, verdicts, strict=True):
            if problem is None:
                new[names[place]] = stamps[place]
            else:
                problems.append(problem)
    finally:
        if new:
            _write(cache, _read(cache) | new)
    return problems


def problem_of(images: PixelSource, position: int) -> str | None:
    """The problem of an image, if it has one."""
    try:
        images[position]
    except BadImage as error:
        return str(error)
    return None


def _read(cache: Path) -> dict[str, str]:
    """The stamps under which images could be read, by name; none where there is no such file, or an older one."""
    try:
        first, *lines = read_bytes(cache).decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return {}
    pairs = (line.partition("\t") for line in lines if first == FIRST_LINE)
    return {name: stamp for stamp, _, name in pairs}


def _write(cache: Path, known: dict[str, str]) -> None:
    lines = [f"{stamp}\t{name}" for name, stamp in known.items() if "\n" not in name]
    try:
        write_atomic(cache, "\n".join([FIRST_LINE, *lines]).encode("utf-8", "surrogateescape"))
    except OSError:
        return  # digests of the same files have said so

"""Images that are read before a run depends on them, each once: content that could be read is not read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import PIL

from lt_bench.data.files.digests import NONE, cache_folder
from lt_bench.data.files.parallel import CHUNK, in_parallel
from lt_bench.data.files.pixels import PixelSource
from lt_bench.data.files.rgb import BadImage
from lt_bench.files import read_bytes, write_atomic

FIRST_LINE = f"lt_bench readable 2, Pillow {PIL.__version__}"  # another decoder may refuse others
NOTHING = f"{NONE.stamp}\t"  # the beginning of the row of no file


def unreadable(
    images: PixelSource, names: Sequence[str], contents: Mapping[str, str], workers: int, title: str, shown: bool
) -> list[str]:
    """What is wrong with each of some images, those of ``names`` in their order, that cannot be read; [] for none.

    Those that were read before with the same content are not read again: ``contents`` are the digests of files whose
    content was looked at just now, by name; any other file is asked for its stamp. What was read is kept also where
    others cannot be, and where the reading is interrupted; a cache folder that cannot be written is one without a
    memory.
    """
    place = hashlib.sha256(os.fsencode(f"{images.place}\n{images.reading}")).hexdigest()[:24]
    cache = cache_folder() / f"readable-{place}.txt"
    known = {*_read(cache)}
    rows = [f"{contents.get(name) or images.stamp(position)}\t{name}" for position, name in enumerate(names)]
    left = [position for position, row in enumerate(rows) if row not in known or row.startswith(NOTHING)]
    few = min(workers, len(left) // CHUNK)  # the start of a process takes as long as some images
    problems, new = list[str](), list[str]()
    try:
        verdicts = in_parallel(partial(problem_of, images), left, few, title, shown and bool(left))
        for position, problem in zip(left, verdicts, strict=True):
            if problem is None:
                new.append(rows[position])
            else:
                problems.append(problem)
    finally:
        if new:
            _write(cache, [*_read(cache), *new])
    return problems


def problem_of(images: PixelSource, position: int) -> str | None:
    """The problem of an image, if it has one."""
    try:
        images[position]
    except BadImage as error:
        return str(error)
    return None


def _read(cache: Path) -> list[str]:
    """The rows of what could be read, content and name; none where there is no such file, or an older one."""
    try:
        first, *rows = read_bytes(cache).decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return []
    return rows if first == FIRST_LINE else []


def _write(cache: Path, rows: list[str]) -> None:
    """Write the last row of every name."""
    last = {row.partition("\t")[2]: row for row in rows if "\n" not in row}
    try:
        write_atomic(cache, "\n".join([FIRST_LINE, *last.values()]).encode("utf-8", "surrogateescape"))
    except OSError:
        return  # digests of the same files have said so

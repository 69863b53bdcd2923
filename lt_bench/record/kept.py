"""What many files of records said when they were read last: one file in the cache folder instead of thousands."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lt_bench.data.files.digests import cache_folder, is_settled, stamp_of
from lt_bench.files import SMALL, atomic_writer, open_regular, read_bytes
from lt_bench.record.record import plain_values

LEAST = 500  # files; fewer are read as fast as they are looked up
NEWS = 0.05  # the share of files that are read anew every time rather than the cache written for them
FIRST_LINE = "lt_bench records 1"


class Kept:
    """The values of the files of records in a folder, each parsed once while it has its size, times and inode.

    The cache is valid for one version of the package. A line of it has a checksum, the stamp of the file, its path and
    its values as JSON; a line that is damaged, or of a file that has changed, counts for nothing. What is kept has the
    same checks before it as what is read. ``anew``: nothing of the cache is believed. Where it cannot be read or
    written, all is as without it.
    """

    def __init__(self, root: Path, files: Collection[Path], anew: bool = False) -> None:
        self._path, self._used = _path_of_cache(root), len(files) >= LEAST
        self._known = _read(self._path) if self._used and not anew else {}
        self._lines: list[bytes] = []
        self._new = 0

    def values(self, file: Path) -> Any:
        """What a file says; OSError where it cannot be read, ValueError naming it where it is no JSON."""
        if not self._used:
            return plain_values(read_bytes(file, SMALL), str(file))
        name = os.fsencode(os.path.abspath(file))
        stamp = stamp_of(os.fspath(file))
        line = self._known.get(name, b"")
        if text := _text(line, stamp):
            with suppress(ValueError):
                values = json.loads(text)
                self._lines.append(line)
                return values
        values = plain_values(read_bytes(file, SMALL), str(file))
        if is_settled(stamp) and not {*b"\t\n"} & {*name}:
            text = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
            rest = b"\t".join([stamp.encode(), name, text])
            self._lines.append(b"%08x\t%s\n" % (zlib.crc32(rest), rest))
            self._new += 1
        return values

    def write(self) -> None:
        """Keep what was read for the next time, where that is enough of it."""
        if self._new > NEWS * len(self._lines):
            with suppress(OSError), atomic_writer(self._path) as stream:
                stream.write(_first_line())
                stream.writelines(self._lines)


def _path_of_cache(root: Path) -> Path:
    place = hashlib.sha256(os.fsencode(os.path.abspath(root))).hexdigest()[:24]
    return cache_folder() / f"records-{place}.txt"


def _first_line() -> bytes:
    return f"{FIRST_LINE} {version('lt_bench')}\n".encode()


def _read(path: Path) -> dict[bytes, bytes]:
    """The lines of a cache by the paths in them; none where there is no cache of this version."""
    found = dict[bytes, bytes]()
    with suppress(OSError), open_regular(path) as stream:
        if stream.readline() == _first_line():
            for line in stream:
                parts = line.split(b"\t", 3)
                if len(parts) == 4:
                    found[parts[2]] = line
    return found


def _text(line: bytes, stamp: str) -> bytes:
    """The values in a line that is whole, where a file still has the stamp that is in it; else nothing."""
    checksum, _, rest = line.removesuffix(b"\n").partition(b"\t")
    kept, _, named = rest.partition(b"\t")
    whole = kept == stamp.encode() and checksum == b"%08x" % zlib.crc32(rest)
    return named.partition(b"\t")[2] if whole else b""

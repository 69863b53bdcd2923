"""A packed copy that is being written: images, and a journal from which an interrupted copy is continued."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lt_bench.errors import DataError
from lt_bench.files import parse_json, sweep
from lt_bench.locks import Held, Lock

JOURNAL, LOCK = "journal.jsonl", "lock"


class Entry(NamedTuple):
    """One image of a copy: its name in the lists, height and width, the CRC-32 of its bytes and their number.

    The last two say what file it was made of.
    """

    name: str
    height: int
    width: int
    crc32: int
    size: int
    file_sha256: str
    file_size: int


class Unfinished:
    """An unfinished copy in a folder, as a context; ``entries`` are its images in the order of their bytes.

    One with the same ``purpose``, a line of text, is continued after its last complete image; any other is started
    again. Raises DataError where another process is writing it.
    """

    def __init__(self, folder: Path, images: str, purpose: str) -> None:
        self.folder = folder
        self._lock = Lock(folder / LOCK)
        try:
            self._lock.acquire()
        except Held as error:
            raise DataError(f"another process is writing {folder}; wait for it, or stop it") from error
        except OSError as error:
            raise DataError(f"{folder} cannot be gone on with ({error.strerror}); delete it") from error
        sweep(folder)
        try:
            self._images = _opened(folder / images)
            self._journal = io.TextIOWrapper(_opened(folder / JOURNAL), encoding="utf-8", errors="replace")
        except OSError as error:
            self._lock.release()
            raise DataError(f"{folder} cannot be gone on with ({error.strerror}); delete it") from error
        self.entries = list(self._whole(purpose))
        self._images.truncate(sum(entry.size for entry in self.entries))
        self._journal.truncate(0)
        self._journal.write("".join(f"{line}\n" for line in (purpose, *map(json.dumps, self.entries))))

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        self._images.close()
        self._journal.close()
        self._lock.release()

    def _whole(self, purpose: str) -> Iterator[Entry]:
        """The entries of the journal whose images have the right checksums, up to the first that has not."""
        length = self._images.seek(0, os.SEEK_END)
        self._images.seek(0)
        self._journal.seek(0)
        first, *lines = self._journal.read().split("\n")
        for line in lines[:-1] if first == purpose else ():  # the last line is empty or incomplete
            try:
                entry = Entry(*parse_json(line))
            except (ValueError, TypeError):
                return
            if not all(map(isinstance, entry, (str, int, int, int, int, str, int))) or not 0 <= entry.size <= length:
                return
            data = self._images.read(entry.size)
            if (len(data), zlib.crc32(data)) != (entry.size, entry.crc32):
                return
            yield entry

    def append(self, entry: Entry, data: bytes) -> None:
        """Add an image."""
        self._images.write(data)
        self._journal.write(f"{json.dumps(entry)}\n")
        self.entries.append(entry)

    def finish(self, folder: Path) -> None:
        """Flush everything to disk, remove the journal and the lock, and rename the copy to its final name."""
        self._images.flush()
        os.fsync(self._images.fileno())
        for name in (JOURNAL, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        os.replace(self.folder, folder)


def _opened(path: Path) -> BinaryIO:
    """A file opened to be read and gone on with, which is made if it is not there; OSError for pipes and devices."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, f"{path.name} is no regular file")
    return path.open("a+b")

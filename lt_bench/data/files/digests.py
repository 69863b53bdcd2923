"""SHA-256 of the files of a data set, each computed once: kept in a cache folder while a file stays what it is."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from lt_bench.files import sweep, write_atomic
from lt_bench.locks import Lock

UNREADABLE = "-"  # stands for the digest of what is no file that can be read
CHUNK = 256
THREADS, SLOW = 8, 1e-3  # where a file takes so many seconds, threads wait for the disk together
BLOCK = 2**20
SETTLED_NS = 2 * 10**9  # a file that changed so lately may change again without another time of change
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe is not waited for
FIRST_LINE = "lt_bench digests 1"


class Digest(NamedTuple):
    """What a file is: the stamp under which its digest may be kept, and its SHA-256 in hexadecimal.

    The stamp has size, times of the last change of content and of inode, and the inode: the second time cannot be set,
    so that content of the same size under the old time of change is seen as well. It is not ``settled`` where the file
    changed so lately that it may change unseen.
    """

    stamp: str
    sha256: str
    settled: bool = True

    @property
    def size(self) -> int:
        """The number of bytes."""
        return int(self.stamp.partition(" ")[0])


NONE = Digest("0", UNREADABLE, settled=False)


def digests(root: str, names: Sequence[str], shown: bool) -> list[Digest]:
    """The digests of files below a root, read where the cache does not have them; with a progress bar if that lasts.

    Links count by what they lead to. Processes that need the same digests read the files once: one reads, the others
    wait. What was read is kept also where the reading is interrupted, and nothing is kept where the cache folder cannot
    be written.
    """
    cache = _path_of_cache(root)
    found = _kept(root, names, _read(cache))
    if len(found) < len(set(names)):
        with _alone(cache, shown) as writable:
            known = _read(cache) if writable else {}
            found |= _kept(root, [name for name in names if name not in found], known)
            new = dict[str, Digest]()
            try:
                for digests_of_some in _computed(
                    root, [name for name in dict.fromkeys(names) if name not in found], shown
                ):
                    new |= digests_of_some
            finally:
                if writable and new:
                    _write(cache, known, {name: each for name, each in new.items() if each.settled})
            found |= new
    return [found[name] for name in names]


def digest_of(path: str) -> Digest:
    """The digest of one file, read now; what is no regular file or cannot be read has none."""
    try:
        descriptor = os.open(path, FLAGS)
    except OSError:
        return NONE
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return NONE
        size = status.st_size
        block = os.read(descriptor, size + 1 if size < BLOCK else BLOCK)
        found = hashlib.sha256(block)
        if len(block) != size:  # a small file is whole at once
            while block := os.read(descriptor, BLOCK):
                found.update(block)
        stamp = _stamp(status)
        return Digest(stamp, found.hexdigest(), is_settled(stamp))
    except OSError:
        return NONE
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """Where digests are kept: ``$LT_BENCH_CACHE``, else ``$XDG_CACHE_HOME/lt_bench``, else ``~/.cache/lt_bench``."""
    if own := os.environ.get("LT_BENCH_CACHE"):
        return Path(own)
    home = os.path.expanduser("~")
    known = home if home != "~" else os.sep  # of a user without a home, as containers have it
    return Path(os.environ.get("XDG_CACHE_HOME") or f"{known}/.cache") / "lt_bench"


def _path_of_cache(root: str) -> Path:
    return cache_folder() / f"digests-{hashlib.sha256(os.fsencode(root)).hexdigest()[:24]}.txt"


def stamp_of(path: str) -> str:
    """The stamp of a file as it is now; that of no file where it cannot be found."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return NONE.stamp


def is_settled(stamp: str) -> bool:
    """Whether a file of this stamp is there, and changed so long ago that it cannot change unseen."""
    return stamp != NONE.stamp and int(stamp.split()[2]) < time.time_ns() - SETTLED_NS


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _kept(root: str, names: Sequence[str], known: dict[str, str]) -> dict[str, Digest]:
    """The digests in the cache of files that are still those that they were computed of."""
    now = ((name, stamp_of(f"{root}/{name}")) for name in (names if known else ()))
    found = ((name, stamp, known.get(f"{stamp}\t{name}")) for name, stamp in now)
    return {name: Digest(stamp, sha256) for name, stamp, sha256 in found if sha256 is not None}


def _computed(root: str, names: list[str], shown: bool) -> Iterator[dict[str, Digest]]:
    """The digests of files as they are read, some at a time."""
    from tqdm import tqdm

    def read(chunk: list[str]) -> list[Digest]:
        return [digest_of(f"{root}/{name}") for name in chunk]

    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(desc="reading images once", total=len(names), unit="image", disable=not shown, delay=1)
        )
        results: Iterator[list[Digest]] = map(read, chunks)
        for place, chunk in enumerate(chunks):
            start = time.monotonic()
            yield dict(zip(chunk, next(results), strict=True))
            bar.update(len(chunk))
            if place == 0 and time.monotonic() - start > SLOW * len(chunk):
                pool = ThreadPoolExecutor(THREADS)
                stack.callback(pool.shutdown, cancel_futures=True)
                results = pool.map(read, chunks[1:])


@contextmanager
def _alone(cache: Path, shown: bool) -> Iterator[bool]:
    """A block in which no other process reads the same files; whether the cache can be written."""
    lock = Lock(cache.with_suffix(".lock"))

    def waiting() -> None:
        if shown:
            print("lt_bench: waiting for another process that reads the same images", file=sys.stderr)

    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(waiting, grace_s=0.5)
        sweep(cache.parent)
    except OSError as error:
        _warn(
            f"{cache.parent} cannot be written ({error.strerror or error}), so that every command reads all images anew"
        )
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _read(cache: Path) -> dict[str, str]:
    """The SHA-256 in a cache file by stamp and name, as they stand in it; none of a file that is not there or whole."""
    try:
        first, *lines = cache.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return {}
    return {line[65:]: line[:64] for line in lines if len(line) > 65} if first == FIRST_LINE else {}


def _write(cache: Path, known: dict[str, str], new: dict[str, Digest]) -> None:
    """Write what is known, with the newest row of every name."""
    rows = {row.partition("\t")[2]: f"{sha256}\t{row}" for row, sha256 in known.items()}
    rows |= {name: f"{digest.sha256}\t{digest.stamp}\t{name}" for name, digest in new.items() if "\n" not in name}
    try:
        write_atomic(cache, "\n".join([FIRST_LINE, *rows.values(), ""]).encode("utf-8", "surrogateescape"))
    except OSError as error:
        _warn(f"{cache} cannot be written ({error.strerror or error})")


def _warn(what: str) -> None:
    print(f"lt_bench: warning: {what}; set LT_BENCH_CACHE=DIR", file=sys.stderr)

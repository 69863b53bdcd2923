"""Whether a process still lives: known on its own machine, elsewhere judged by signs of life as one clock sees them.

The clocks of two machines differ, and the times of files on a shared file system come from a third one. So no time
stamp is compared with a clock: it only counts whether a file's stamp changes while this process looks at it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

BEAT_S = 10  # between two signs of life of a process
STILL_S = 45  # without one: four are missing


def this_process() -> dict[str, Any]:
    """What tells this process from all others: its id, when it started, its host, boot and space of ids."""
    pid = os.getpid()
    return {"pid": pid, "host": socket.gethostname(), **_boot(), "started": _started(pid)}


def lives(process: Mapping[str, Any]) -> bool | None:
    """Whether the process lives of which ``this_process`` was written down; None where that cannot be known from here.

    What older versions wrote has host and id alone: then it has to be one of ours by its command line.
    """
    pid = process.get("pid")
    if not isinstance(pid, int) or process.get("host") != socket.gethostname():
        return None
    if any(key in process and process[key] != value for key, value in _boot().items()):
        return None  # started anew, or another machine of that name
    known, started = process.get("started"), _started(pid)
    if known is not None and started is not None:
        return bool(started == known)
    try:
        os.kill(pid, 0)
        if known is not None:
            return False  # it has ended, and nobody has asked for its status yet
        command = Path(f"/proc/{pid}/cmdline")
        return not command.parent.exists() or b"lt_bench" in command.read_bytes()
    except PermissionError:  # of another user, whose processes some machines hide (proc(5), hidepid)
        return True if known is None else None
    except (OSError, OverflowError):
        return False


@cache
def _boot() -> dict[str, str]:
    """The boot of this machine's kernel, and the space of process ids, which differs between containers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"boot": boot, "pids": os.readlink("/proc/self/ns/pid")}
    except OSError:
        return {}


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None where there is none, or it has ended (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def stamp(*paths: Path) -> tuple[tuple[int, ...], ...]:
    """What changes with a sign of life: of every file its inode, length and times; opened, so that no cache answers."""
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


Files = tuple[Path, ...]


class _Look(NamedTuple):
    """The stamp of a file, when it was first and last seen, and whether another one was seen shortly before."""

    stamp: tuple[int, ...]
    since: float
    last: float
    moved: bool


class Signs:
    """What was seen of signs of life, in seconds of one clock that never goes back; it may be kept for later looks.

    Every file counts from the first look at it: whoever will wait for several looks at all of them first, so that their
    times run together.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._looks: dict[Path, _Look] = {}

    def moved(self, *paths: Path) -> bool | None:
        """Whether some files have changed lately: False where they stood still for ``STILL_S``; None is open."""
        now = self._clock()
        looks = [self._look(path, now) for path in paths]
        if all(now - look.since >= STILL_S for look in looks):
            return False
        return True if any(look.moved for look in looks if now - look.since < STILL_S) else None

    def _look(self, path: Path, now: float) -> _Look:
        """A look at a file. A change since a look of long ago may be of long ago as well: it begins a new time."""
        found, known = _stamp(path), self._looks.get(path)
        if known is None or known.stamp != found:
            known = _Look(found, now, now, known is not None and now - known.last < STILL_S)
        self._looks[path] = known._replace(last=now)
        return known

    def moving(self, signs: Collection[Files], told: Callable[[], None]) -> set[Files]:
        """Those of some signs that change; looks for ``STILL_S`` at most, and calls ``told`` if it has to wait."""
        while None in (found := {paths: self.moved(*paths) for paths in signs}).values():
            told()
            told = _nothing
            self._sleep(1)
        return {paths for paths, moved in found.items() if moved}


SIGNS = Signs()  # what this process has seen, of whatever it waits for


def _nothing() -> None:
    """Who waits has been told."""

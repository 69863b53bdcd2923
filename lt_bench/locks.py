"""A lock that no dead machine keeps: a lock of the file system, its holder's name, and the holder's sign of life.

Where a machine dies, a shared file system may keep its lock for ever. The holder therefore renews the time of the lock
file; one that is not known to live, and whose file stands still, has lost its lock to whoever waits for it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from weakref import WeakSet

from lt_bench.files import read_json
from lt_bench.liveness import BEAT_S, SIGNS, Signs, lives, stamp, this_process

POLL_S = (0.05, 1.0)  # between two tries: at first, and of one that waits long
SETTLE_S = 0.5  # in which all that found a lock free at once have written their names, without locks of the file system
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # a file system without them: the holder's name counts


class Held(Exception):
    """A lock is held by another process, which lives."""


class Lock:
    """A lock file, taken by one process at a time; it stays when the lock is released.

    A process whose lock was taken over, because it stood still, is asked to stop as by SIGTERM.
    """

    def __init__(self, path: Path, signs: Signs | None = None) -> None:
        self.path, self._signs = path, signs or SIGNS
        self._descriptor: int | None = None
        self._released, self._thread = Event(), Thread()

    def acquire(self, waiting: Callable[[], None] | None = None, grace_s: float = 0.0) -> None:
        """Take the lock; one that is held is waited for, and ``waiting`` called once, after ``grace_s``.

        Without ``waiting`` raises Held where the holder lives, which for one on another machine takes a while to see.
        Raises OSError where the file cannot be written.
        """
        start, pause, said = time.monotonic(), POLL_S[0], False
        while not self._take():
            seen = stamp(self.path)
            alive = self._holder_lives()
            if alive is False:
                self._take_over(seen)
                continue
            if alive and waiting is None:
                raise Held(str(self.path))
            if not said and time.monotonic() - start >= grace_s:
                (waiting or self._say_that_it_looks)()
                said = True
            time.sleep(pause)
            pause = min(1.5 * pause, POLL_S[1])

    def free(self) -> None:
        """Take the lock from a holder elsewhere that has been seen to be dead by now; nobody is waited for."""
        seen, holder = stamp(self.path), read_json(self.path)
        if holder and lives(holder) is None and self._holder_lives() is False:
            self._take_over(seen)

    def release(self) -> None:
        """Give the lock back; nothing where it is not held."""
        if self._descriptor is None:
            return
        self._released.set()
        self._thread.join()
        _HELD.discard(self)
        descriptor, self._descriptor = self._descriptor, None
        with suppress(OSError):
            os.ftruncate(descriptor, 0)  # nobody's: where the file system has no locks, this releases it
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a fork has not closed it yet
        os.close(descriptor)

    @property
    def lost(self) -> bool:
        """Whether the lock was held and another process has taken it over."""
        return self._descriptor is not None and self._is_lost(self._descriptor)

    def _take(self) -> bool:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            taken = _flock(descriptor)
            if taken is False or (taken is None and read_json(self.path)):
                return False
            if not _is_file(self.path, descriptor):  # taken over or deleted meanwhile
                return False
            name = this_process()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(name).encode(), 0)
            if taken is None:  # several may have found it free: of their names the last one counts
                time.sleep(SETTLE_S)
                if read_json(self.path) != name:
                    return False
            self._descriptor, descriptor = descriptor, -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        _HELD.add(self)
        self._released = Event()
        self._thread = Thread(target=self._beat, args=(self._descriptor, self._released), daemon=True)
        self._thread.start()
        return True

    def _holder_lives(self) -> bool | None:
        """Whether the holder lives; None while that is open. One without a name is of an older version, and lives."""
        holder: dict[str, Any] = read_json(self.path)
        if not holder:
            return True
        known = False if holder in _DEAD else lives(holder)
        return self._signs.moved(self.path) if known is None else known

    def _say_that_it_looks(self) -> None:
        print(f"lt_bench: looking for signs of life of the process that holds {self.path}", file=sys.stderr)

    def _take_over(self, seen: tuple[tuple[int, ...], ...]) -> None:
        """Delete a dead holder's file, unless another process has just done so."""
        holder, guard = read_json(self.path), self.path.with_name(f"{self.path.name}.dead")
        descriptor = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            with suppress(OSError):  # without locks of the file system, two may delete
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if seen == stamp(self.path):
                self.path.unlink(missing_ok=True)
                _DEAD.append(holder)
                said = f"{self.path} was held by process {holder.get('pid')} on {holder.get('host')}"
                print(f"lt_bench: {said}, which is dead: taken over", file=sys.stderr)
            guard.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _beat(self, descriptor: int, released: Event) -> None:
        """Renew the file's time until the lock is released; a process that has lost it stops."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not released.wait(BEAT_S):
            if self._is_lost(descriptor):
                said = "stood still for so long that another process has taken over its work; it stops"
                print(f"lt_bench: this process {said} ({self.path})", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            with suppress(OSError):
                os.utime(descriptor)

    def _is_lost(self, descriptor: int) -> bool:
        """Whether another file is there; one that is gone, or cannot be looked at just now, is nobody else's."""
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except OSError:
            return False


def _flock(descriptor: int) -> bool | None:
    """Whether the lock is taken, or another process has it; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


_HELD: WeakSet[Lock] = WeakSet()
_DEAD: list[dict[str, Any]] = []  # holders whose locks were taken over: their others are free at once


def _forget() -> None:
    """In a fork: it is not the holder, and must not keep the lock when its parent is killed."""
    for lock in list(_HELD):
        if lock._descriptor is not None:
            os.close(lock._descriptor)
            lock._descriptor = None
    _HELD.clear()


os.register_at_fork(after_in_child=_forget)

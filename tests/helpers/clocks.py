"""A clock of an observer that tests turn by hand, and a file that gives signs of life by another clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lt_bench.liveness import SIGNS, Signs


class Clock:
    """Time passes only while an observer sleeps; ``meanwhile`` is then called with the seconds so far."""

    def __init__(self, meanwhile: Callable[[float], None] = lambda seconds: None) -> None:
        self.now, self.meanwhile = 0.0, meanwhile

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.meanwhile(self.now)

    def signs(self) -> Signs:
        """What an observer with this clock sees."""
        return Signs(lambda: self.now, self.sleep)

    def of_new_process(self, monkeypatch: Any) -> None:
        """Whatever looks for signs of life in this process goes by this clock, and has not seen anything yet."""
        turned = SimpleNamespace(sleep=lambda seconds: self.sleep(1), monotonic=lambda: self.now)
        monkeypatch.setattr("lt_bench.locks.time", turned)
        monkeypatch.setattr("lt_bench.locks._DEAD", [])
        for name, value in vars(self.signs()).items():
            monkeypatch.setattr(SIGNS, name, value)


def beating(path: Path, start: float, every: float = 10) -> Callable[[float], None]:
    """What renews a file on a machine whose clock shows ``start`` at first, for ``Clock``."""
    beats = [0.0]

    def renew(seconds: float) -> None:
        if seconds // every != beats[-1]:
            beats.append(seconds // every)
            os.utime(path, (start + seconds, start + seconds))

    return renew

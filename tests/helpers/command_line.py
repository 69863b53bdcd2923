"""Processes that the tests of the command line start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODULE = (sys.executable, "-m", "lt_bench")

# `python -m lt_bench`, which stands still at its first checkpoint until it is asked to stop: what a test signals cannot
# have ended before, however late the signal comes
_HELD = """
import sys, time
from lt_bench.__main__ import main
from lt_bench.engine import checkpoint, interrupt

asked, save, record = [], checkpoint.save, interrupt.StopRequest._record_signal

def held(*words):
    save(*words)
    deadline = time.monotonic() + 300
    while not asked and time.monotonic() < deadline:
        time.sleep(0.02)

def recorded(*words):
    asked.append(True)
    record(*words)

checkpoint.save, interrupt.StopRequest._record_signal = held, recorded
sys.exit(main(sys.argv[1:]))
"""
HELD = (sys.executable, "-c", _HELD)


def hear_signals() -> None:
    """As ``preexec_fn``: a process hears the signals that its parents ignore, as under nohup or behind ``&``."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def call(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """``python -m lt_bench`` with these words."""
    return subprocess.run([*MODULE, *words], capture_output=True, text=True, **options)


def without_torch(folder: Path) -> dict[str, str]:
    """An environment in which importing torch is an error; the source of its optimisers can still be read."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise RuntimeError('torch was imported')\n")
    found = find_spec("torch")
    assert found is not None and found.submodule_search_locations is not None
    (folder / "torch" / "optim").symlink_to(Path(found.submodule_search_locations[0]) / "optim")
    return {**os.environ, "PYTHONPATH": str(folder)}


def wait_for(found: Callable[[], object], seconds: float = 300, pause: float = 0.02) -> None:
    """Until ``found()`` is true; TimeoutError after some seconds, as what never comes about would hang the test.

    Where it asks by starting a process, the ``pause`` between is long enough that this does not slow down what is
    waited for.
    """
    deadline = time.monotonic() + seconds
    while not found():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing was found in {seconds:g} s")
        time.sleep(pause)


def processes_with(*words: str) -> list[int]:
    """Identities of the processes that have all these words on their command line; there must be a /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(word in command for word in words):
            found.append(int(path.parent.name))
    return found

"""The side of the run: a process for each of its trackers, told what the run measures and never waited for.

Nothing that a tracker does reaches the run: it has its own process, interpreter and session. One that fails or hangs
is reported once and dropped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.command import printable
from lt_bench.config.keys import affects_result
from lt_bench.config.schema import Config, flat, plain
from lt_bench.files import read_json
from lt_bench.record.curves import CURVES
from lt_bench.record.record import RunRecord

FINISH, STOP = "finish", "stop"
FINISH_S, STOP_S, LEFT_ALONE_S = 120, 10, 60  # what a tracker has to end after a run, its interruption, its death
KILLED_AFTER_S = 2  # more than that
PIPE = 2**20  # bytes that are told before a process reads them: a thousand epochs


class Beginning(NamedTuple):
    """What a tracker's process is told first: the tracker, the run, and how many epochs its stage one has."""

    name: str
    settings: dict[str, Any]
    folder: str
    config: dict[str, Any]
    record: dict[str, Any]
    epochs: int


def notes_of(folder: Path, name: str) -> Path:
    """The file in a run folder that says what a tracker has of the run."""
    return folder / "trackers" / f"{name}.json"


class Trackers:
    """Context: the trackers of a run, told what it measures; processes start with the first thing that is told.

    Only the process that ``writes`` (rank 0) has any. ``record`` makes what is known of the run at its beginning.
    Nothing here raises but KeyboardInterrupt.
    """

    def __init__(self, config: Config, folder: Path, record: Callable[[], RunRecord], writes: bool = True) -> None:
        self.config, self.folder, self.record = config, folder.absolute(), record
        self._names = [name for name in config.tracker if writes and not self._has_all(name)]
        self._processes: dict[str, _Process] | None = None

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(STOP, STOP_S)

    def curves(self, path: Path) -> None:
        """Tell the epochs in a file of curves; those that a tracker has are left out."""
        self._tell({"curves": str(path.absolute())})

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Tell an epoch as it stands in a file of curves."""
        self._tell({"row": dict(row)})

    def finish(self) -> None:
        """Tell that the run is done and its record in the run folder, and wait for the trackers to end."""
        self._begin()
        self._end(FINISH, FINISH_S)

    def _has_all(self, name: str) -> bool:
        return read_json(notes_of(self.folder, name)).get("finished") is True

    def _begin(self) -> None:
        if self._processes is not None:
            return
        self._processes = {}
        for name in self._names:
            with self._dropping(name):
                self._processes[name] = _Process(notes_of(self.folder, name).with_suffix(".log"))
                self._processes[name].tell({"path": sys.path, **self._beginning(name)._asdict()})

    def _beginning(self, name: str) -> Beginning:
        config = self.config
        deciding = {key: value for key, value in flat(plain(config)).items() if affects_result(key)}
        record, epochs = self.record().to_dict(), config.train.epochs
        return Beginning(name, config.tracker[name], str(self.folder), deciding, record, epochs)

    def _tell(self, message: dict[str, Any]) -> None:
        self._begin()
        for name, process in [*(self._processes or {}).items()]:
            with self._dropping(name):
                process.tell(message)

    def _end(self, how: str, seconds: float) -> None:
        """End all processes, together within some seconds."""
        self._tell({how: seconds}) if self._processes else None
        ends = time.monotonic() + seconds + KILLED_AFTER_S
        try:
            for name, process in [*(self._processes or {}).items()]:
                with self._dropping(name):
                    process.wait(ends)
        finally:
            for process in (self._processes or {}).values():
                process.kill()
            self._processes = {}

    @contextmanager
    def _dropping(self, name: str) -> Iterator[None]:
        """What goes wrong inside is said, and the tracker dropped."""
        try:
            yield
        except Exception as error:
            process = (self._processes or {}).pop(name, None)
            said = process.last_words(error) if process else str(error)
            told = f"lt_bench: tracker {name} is dropped, and the run goes on without it: {said}"
            with suppress(OSError):
                print(printable(told), file=sys.stderr)


class _Process:
    """The process of a tracker; what it prints goes into a log. Raises OSError where it cannot be started."""

    def __init__(self, log: Path) -> None:
        self.log = log
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "lt_bench.trackers"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pipesize=PIPE,
            )
        assert self.popen.stdin is not None
        self._input = self.popen.stdin.fileno()
        os.set_blocking(self._input, False)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell a message without ever waiting; raises OSError where it is not taken whole."""
        line = f"{json.dumps(message)}\n".encode()
        if os.write(self._input, line) < len(line):
            raise BlockingIOError

    def wait(self, ends: float) -> None:
        """Wait for its end; raises TimeoutError for one that has not come at a time, ChildProcessError for another."""
        try:
            status = self.popen.wait(max(0.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            status = -signal.SIGALRM
        if status == -signal.SIGALRM:
            raise TimeoutError("it did not end in time; the same command tells it the rest")
        if status:
            raise ChildProcessError(f"exit status {status}")

    def last_words(self, error: Exception) -> str:
        """Why it is dropped: what it said at last where it ended by itself, else the ``error`` that was noticed."""
        blocked = "it does not read what it is told" if isinstance(error, BlockingIOError) else str(error)
        with suppress(subprocess.TimeoutExpired):
            if isinstance(error, (BrokenPipeError, ChildProcessError)):
                self.popen.wait(KILLED_AFTER_S)
        self.kill()
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
            if not isinstance(error, (BlockingIOError, TimeoutError)) and (said := [line for line in lines if line]):
                return f"{said[-1]} (see {self.log})"
        return f"{blocked} (see {self.log})"

    def kill(self) -> None:
        """End it, and all that it started."""
        with suppress(OSError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        if self.popen.stdin:
            with suppress(OSError):
                self.popen.stdin.close()


def follow_finished(config: Config, record: RunRecord, folder: Path) -> None:
    """Tell trackers that do not have a finished run what stands in its folder, and in that of its stage one."""
    with Trackers(config, folder, lambda: record) as trackers:
        for path in stored_curves(record, folder):
            trackers.curves(path)
        trackers.finish()


def stored_curves(record: RunRecord, folder: Path) -> list[Path]:
    """The files of a run's training curves, that of its stage one first."""
    below = [folder.with_name(record.stage_one_id) / CURVES] if record.stage_one_id else []
    return [*below, folder / CURVES]

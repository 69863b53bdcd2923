"""``python -m lt_bench.trackers``: the process of one tracker, which ``lt_bench.trackers.following`` starts.

It reads messages, one line of JSON each, from standard input: first ``Beginning`` as an object, then ``row``, an epoch
of the training curves, or ``curves``, the path of a file of them, and at last ``finish`` or ``stop`` with the seconds
that are left. What fails is on standard error, whose last line says it in a few words, and the exit status is 1.
"""

from __future__ import annotations

import faulthandler
import json
import os
import secrets
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from lt_bench.config.stages import StageName
from lt_bench.config.trust import load
from lt_bench.errors import UsageError, keyed
from lt_bench.files import read_json, write_json
from lt_bench.record.curves import read_curves
from lt_bench.record.record import RECORD, RunRecord, read_record
from lt_bench.trackers.contract import Epoch, Place, Tracker
from lt_bench.trackers.following import FINISH, LEFT_ALONE_S, STOP, Beginning, notes_of
from lt_bench.trackers.pictures import pictures

ENDS = (FINISH, STOP)
LONGEST = 300  # characters of what an error says: some servers answer with a page
Messages = SimpleQueue[dict[str, Any]]


class Notes:
    """What a tracker has of a run, in the run folder: its key, its next step, and whether it has everything."""

    def __init__(self, path: Path) -> None:
        self.path, found = path, read_json(path)
        key, step = found.get("key"), found.get("step")
        self.key = key if isinstance(key, str) else secrets.token_hex(4)
        self.step = step if isinstance(key, str) and isinstance(step, int) else 0
        self.write()

    def write(self, finished: bool = False) -> None:
        """Write them down; raises OSError."""
        write_json(self.path, {"key": self.key, "step": self.step, "finished": finished})


class Follower:
    """A tracker and what it was told of a run: every epoch once, in order."""

    def __init__(self, beginning: Beginning) -> None:
        self.folder, self.epochs = Path(beginning.folder), beginning.epochs
        self.notes = Notes(notes_of(self.folder, beginning.name))
        settings = dict(beginning.settings)
        place = Place(self.folder, self.folder.parent, self.notes.key, self.notes.step)
        with keyed(f"tracker.{beginning.name}"):
            self.tracker: Tracker = load(settings.pop("_target_"))(place, **settings)
        self.tracker.start(beginning.config, RunRecord.from_dict(beginning.record))

    def told(self, messages: Iterable[dict[str, Any]]) -> None:
        """Pass on what some messages say, of which an end is the last."""
        rows: list[dict[str, Any]] = []
        for message in messages:
            if "row" in message:
                rows.append(message["row"])
            elif "curves" in message:
                rows += read_curves(Path(message["curves"]))
            else:
                self._epochs(rows)
                rows = []
                self._end(message)
        self._epochs(rows)

    def _end(self, message: dict[str, Any]) -> None:
        if STOP in message:
            self.tracker.finish(None)
            return
        record = read_record(self.folder / RECORD)
        for name, figure in pictures(self.folder):
            self.tracker.figure(name, figure)
        self.tracker.finish(record)
        self.notes.write(finished=True)

    def _epochs(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Tell the epochs that the tracker does not have: all at once where it takes that."""
        found = {one.step: one for one in map(self._epoch, rows) if one.step >= self.notes.step}
        several: Callable[[list[Epoch]], None] | None = getattr(self.tracker, "several", None)
        if several and found:
            several([*found.values()])
            self._has(max(found))
        for one in () if several else found.values():
            self.tracker.scalars(*one)
            self._has(one.step)

    def _epoch(self, row: Mapping[str, Any]) -> Epoch:
        stage, epoch = StageName(row["stage"]), row["epoch"]
        values = {name: value for name, value in row.items() if name not in ("stage", "epoch")}
        return Epoch(stage.key, epoch, values, epoch + (self.epochs if stage is StageName.TWO else 0))

    def _has(self, step: int) -> None:
        self.notes.step = step + 1
        self.notes.write()


def _read(messages: Messages) -> None:
    """Take all messages in at once, so that who writes them never waits; from the last one on, time is limited."""
    last: dict[str, Any] = {STOP: LEFT_ALONE_S}
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if any(end in message for end in ENDS):
            last = message
            break
        messages.put(message)
    seconds = max(1, round(next(iter(last.values()))))
    faulthandler.dump_traceback_later(seconds)  # what it waits for, in the log
    signal.alarm(seconds + 1)  # ends the process, whatever that is
    messages.put(last)


def _follow() -> None:
    messages: Messages = SimpleQueue()
    Thread(target=_read, args=(messages,), daemon=True).start()
    first = messages.get()
    if any(end in first for end in ENDS):
        return
    sys.path[:] = first.pop("path")  # where the run finds modules
    follower = Follower(Beginning(**first))
    while True:
        waiting = [messages.get()]
        while not messages.empty():
            waiting.append(messages.get())
        follower.told(waiting)
        if any(end in waiting[-1] for end in ENDS):
            return


def last_words(error: BaseException) -> str:
    """What failed, in one line of at most ``LONGEST`` characters: a setting by its key, anything else by its class."""
    said = textwrap.shorten(str(error), LONGEST, placeholder=" …")
    return said if isinstance(error, UsageError) else f"{type(error).__name__}: {said}".removesuffix(": ")


def main() -> None:
    """Follow a run to its end, and exit without waiting for threads that a tracker leaves behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the run decides when it ends
        signal.signal(number, lambda *_: None)
    status = 1
    try:
        _follow()
        status = 0
    except BaseException as error:
        traceback.print_exc()
        print(last_words(error), file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()

"""A tracker for tests: writes every call into a file, and fails or hangs where it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Recording:
    """A line of JSON for every call in ``calls.jsonl`` of the run folder; ``fails_in`` and ``hangs_in`` name calls."""

    def __init__(self, place: Any, *, fails_in: str = "", hangs_in: str = "", leaves_thread: bool = False) -> None:
        self.path, self.key, self.step = Path(place.folder) / "calls.jsonl", place.key, place.step
        self.fails_in, self.hangs_in = fails_in, hangs_in
        if leaves_thread:
            threading.Thread(target=time.sleep, args=(1000,)).start()
        self._called("__init__")

    def start(self, config: Mapping[str, Any], record: Any) -> None:
        self._called(
            "start", key=self.key, step=self.step, config=dict(config), run=record.run_id, method=record.method
        )

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float], step: int) -> None:
        self._called("scalars", stage=stage, epoch=epoch, values=dict(values), step=step)

    def figure(self, name: str, figure: Any) -> None:
        self._called("figure", name=name, axes=len(figure.axes))

    def finish(self, record: Any) -> None:
        self._called("finish", metrics=record and dict(record.metrics))

    def _called(self, name: str, /, **values: Any) -> None:
        if name == self.fails_in:
            raise RuntimeError(f"no {name} today")
        while name == self.hangs_in:
            time.sleep(1000)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"call": name, **values}) + "\n")


class AtOnce(Recording):
    """The same for one that takes all epochs that wait."""

    def several(self, epochs: Sequence[Any]) -> None:
        self._called("several", epochs=[epoch._asdict() for epoch in epochs])


def calls(folder: Path) -> list[dict[str, Any]]:
    """What a tracker of a run was told."""
    path = folder / "calls.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

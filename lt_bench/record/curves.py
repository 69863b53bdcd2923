"""Training curves: metrics.jsonl in a run folder, one line for every epoch of a stage."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lt_bench.files import SMALL, parse_json, read_bytes, write_atomic, writing

CURVES = "metrics.jsonl"
Follow = Callable[[Mapping[str, Any]], None]
SCORE = "selection_score"  # after an epoch, where the best one is chosen by it


def together(*follows: Follow | None) -> Follow:
    """What tells an epoch to all that follow a run."""

    def tell(row: Mapping[str, Any]) -> None:
        for follow in filter(None, follows):
            follow(row)

    return tell


def read_curves(path: Path) -> list[dict[str, Any]]:
    """The epochs in a file of curves, in its order; none where there is no file, and no line that is not whole.

    Keys: ``stage``, ``epoch`` counted from 0, the means of the method's terms (``loss``), ``lr`` of the last step,
    ``seconds`` and ``images_per_second`` of training, ``selection_score`` in [0, 1] where the best epoch is chosen.
    Raises OSError for a file that cannot be read, or is longer than any run makes it.
    """
    if not path.exists():
        return []
    return [row for line in read_bytes(path, SMALL).splitlines() if (row := _row(line)) is not None]


class CurvesFile:
    """The file of curves as a stage writes it: only the process that ``writes`` does.

    A line is on the disk before the checkpoint that makes the run go on after it, and ``begin`` drops the lines of
    epochs that are trained again: whenever a run is killed, the file ends as if it had not been. ``follow`` is told
    every line that is written.
    """

    def __init__(self, path: Path, stage: str, writes: bool = True, follow: Follow | None = None) -> None:
        self.path, self.stage, self.writes, self.follow = path, stage, writes, follow

    def begin(self, first_epoch: int) -> None:
        """Keep the lines of earlier epochs, and of other stages."""
        if self.writes and self.path.exists():
            kept = [row for row in read_curves(self.path) if row["stage"] != self.stage or row["epoch"] < first_epoch]
            write_atomic(self.path, "".join(f"{json.dumps(row)}\n" for row in kept))

    def write(self, epoch: int, values: dict[str, float]) -> None:
        """Append an epoch's values; raises NotWritten."""
        if self.writes:
            row = {"stage": self.stage, "epoch": epoch, **values}
            with writing(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self.follow is not None:
                self.follow(row)

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        if self.writes and self.path.exists():
            with writing(self.path), self.path.open("ab") as file:
                os.fsync(file.fileno())


def _row(line: bytes) -> dict[str, Any] | None:
    """An epoch; None for a line that a process was killed in, or that is something else."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    whole = isinstance(row, dict) and isinstance(row.get("stage"), str) and isinstance(row.get("epoch"), int)
    return row if whole else None

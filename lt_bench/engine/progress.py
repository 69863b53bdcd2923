"""A progress bar on stderr; in a log file, a line every ten seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
SILENT_S = 2.0  # longer work than this is shown


class Progress:
    """Context: the epoch, steps done of all steps of a stage, and the current means of the loss terms."""

    def __init__(self, title: str, epochs: int, total: int, done: int, shown: bool) -> None:
        self.title, self.epochs = title, epochs
        interval = 0.2 if sys.stderr.isatty() else 10.0
        self.bar = tqdm(
            desc=title, total=total, initial=done, unit="step", disable=not shown, mininterval=interval, leave=True
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def epoch(self, epoch: int) -> None:
        """An epoch, counted from 0, begins; the bar counts from 1."""
        self.bar.set_description(f"{self.title}, epoch {epoch + 1}/{self.epochs}", refresh=False)

    def advance(self) -> None:
        """One step is done."""
        self.bar.update()

    def show(self, means: dict[str, float], lr: float) -> None:
        """Show the means of an epoch's terms beside the bar."""
        if not self.bar.disable:
            self.bar.set_postfix({**means, "lr": lr}, refresh=False)


def told(batches: Iterable[Item], title: str, shown: bool) -> Iterator[Item]:
    """Batches in turn, with a bar of how many are done where they take longer than two seconds."""
    yield from tqdm(batches, desc=title, unit="batch", delay=SILENT_S, leave=False, disable=not shown)

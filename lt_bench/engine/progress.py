"""A progress bar on stderr; in a log file, a line every ten seconds."""

from __future__ import annotations

import sys

from tqdm import tqdm


class Progress:
    """Context: steps done of all steps of a stage, with the current means of the loss terms."""

    def __init__(self, title: str, total: int, done: int, shown: bool) -> None:
        interval = 0.2 if sys.stderr.isatty() else 10.0
        self.bar = tqdm(
            desc=title, total=total, initial=done, unit="step", disable=not shown, mininterval=interval, leave=True
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self) -> None:
        """One step is done."""
        self.bar.update()

    def show(self, means: dict[str, float], lr: float) -> None:
        """Show the means of an epoch's terms beside the bar."""
        if not self.bar.disable:
            self.bar.set_postfix({**means, "lr": lr}, refresh=False)

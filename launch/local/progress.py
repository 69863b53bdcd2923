"""The progress of a sweep on this machine: a live table on a terminal, else one line for every run that ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tqdm import tqdm

from lt_bench.command import DONE, printable
from lt_bench.files import open_regular, parse_json
from lt_bench.record.curves import CURVES

from ..submission import LOG
from .process_pool import Job, Process, ProcessPool


class SweepProgress:
    """Context: shows how many runs of a pool have ended and failed, and the progress of those that are running."""

    def __init__(self, total: int, rows: int, labels: dict[Path, str], shown: bool) -> None:
        self.labels, self.total, self.ended, self.failures = labels, total, 0, list[str]()
        self.live, self.shown = shown and sys.stderr.isatty(), shown
        self.bar = tqdm(total=total, desc="runs", unit="run", disable=not self.live, leave=False)
        self.rows = [
            tqdm(total=0, bar_format="{desc}", position=1 + row, disable=not self.live, leave=False)
            for row in range(rows if self.live else 0)
        ]
        self._next_refresh = 0.0

    def __enter__(self) -> SweepProgress:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in (*self.rows, self.bar):
            bar.close()

    def note(self, job: Job, status: int, message: str) -> None:
        """Show that a job has ended."""
        self.ended += 1
        line = f"{job.folder.name} {self.labels[job.folder]}: {message}"
        if status != DONE:
            reports = [path for name in ("trace.txt", LOG) if (path := job.folder / name).exists()]
            self.failures.append(f"{line}{f' (see {reports[0]})' if reports else ''}")
        self.bar.update()
        self.bar.set_postfix_str(f"{len(self.failures)} failed" if self.failures else "")
        if self.shown and not self.live:
            short = message.partition(":")[0]  # the reason of a failure is printed once, at the end
            print(f"[{self.ended}/{self.total}] {job.folder.name} {self.labels[job.folder]}: {short}", file=sys.stderr)

    def refresh(self, pool: ProcessPool) -> None:
        """Show what is running, at most twice a second."""
        if not self.live or time.monotonic() < self._next_refresh:
            return
        self._next_refresh = time.monotonic() + 0.5
        running = pool.running[: len(self.rows)]
        for number, bar in enumerate(self.rows):
            bar.set_description_str(self._row(running[number]) if number < len(running) else "")

    def _row(self, process: Process) -> str:
        minutes, seconds = divmod(int(time.monotonic() - process.started), 60)
        folder = process.job.folder
        return f"  {folder.name} {self.labels[folder]}  {minutes}:{seconds:02d}  {progress_of(folder)}"


def progress_of(folder: Path) -> str:
    """The last epoch that a run has logged, with its loss; empty before the first."""
    try:
        with open_regular(folder / CURVES) as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().splitlines()
    except OSError:
        return ""
    try:
        last = parse_json(lines[-1])
        return printable(f"{last['stage']}, epoch {last['epoch']}, loss {last['loss']:.3g}")
    except (IndexError, KeyError, TypeError, ValueError):  # no line yet, or one that is being written
        return ""

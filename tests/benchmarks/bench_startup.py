"""Start-up of commands and of a run to its first step, in new processes: `python tests/benchmarks/bench_startup.py`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from harness import Comparison, Measured, alternate, script

LIMIT = 1.0  # seconds, for a run to its first step after the import of torch
RUN = "the digits run to its first step"
FIRST_STEP = """
import os
import sys
from lt_bench.machine import wait_briefly
wait_briefly()
from lt_bench.engine.loop import Trainer
from lt_bench.__main__ import main
Trainer._step = lambda *_: os._exit(9)
main(sys.argv[1:])
"""
SCALE = "import torch"
# words, exit status, line of docs/speed.md
COMMANDS = {
    SCALE: (["-c", SCALE], 0, ""),
    "--help": (["-m", "lt_bench", "--help"], 0, "`--help`"),
    "a mistyped key": (["-m", "lt_bench", "train.epoch=3"], 2, "a mistyped key"),
    "a run that is checked only": (["-m", "lt_bench", "--dry-run"], 0, ""),
    RUN: (["-c", FIRST_STEP, "device=cpu", "progress=false"], 9, RUN),
}


def status(words: list[str]) -> int:
    """The exit status of a new Python process in a folder of its own, whose output is dropped."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=False).returncode


def measure(tiny: bool) -> Iterator[Comparison]:
    """Every command beside the import of torch; the sides agree where both exit statuses are the right ones."""
    calls = {name: lambda words=words: status(words) for name, (words, _, _) in COMMANDS.items()}
    timed = alternate(calls, rounds=1 if tiny else 5)
    scale, *ours = [Measured.of(name, *one.seconds) for name, one in timed.items()]
    for side in ours:
        row = COMMANDS[side.name][2]
        agree = all(timed[name].result == COMMANDS[name][1] for name in (SCALE, side.name))
        limit = LIMIT + scale.median * (side.name == RUN)
        yield Comparison(f"start-up: {side.name}", "s", scale, side, agree, limit=limit, row=row)


if __name__ == "__main__":
    sys.exit(script(measure))

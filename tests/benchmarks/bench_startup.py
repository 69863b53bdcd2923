"""Start-up of commands that need no torch, in fresh processes: `python tests/benchmarks/bench_startup.py [--tiny]`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from harness import Comparison, Measured, alternate, script

LIMIT = 1.0  # seconds
SCALE = "import torch"
# words, exit status, line of README's table
COMMANDS = {
    SCALE: (["-c", SCALE], 0, ""),
    "--help": (["-m", "lt_bench", "--help"], 0, "`--help`"),
    "a mistyped key": (["-m", "lt_bench", "train.epoch=3"], 2, "a mistyped key"),
    "a run that is checked only": (["-m", "lt_bench", "--dry-run"], 0, ""),
}


def status(words: list[str]) -> int:
    """The exit status of a new Python process, whose output is dropped."""
    return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode


def measure(tiny: bool) -> Iterator[Comparison]:
    """Every command beside the import of torch; the sides agree where both exit statuses are the right ones."""
    calls = {name: lambda words=words: status(words) for name, (words, _, _) in COMMANDS.items()}
    timed = alternate(calls, rounds=1 if tiny else 5)
    scale, *ours = [Measured.of(name, *one.seconds) for name, one in timed.items()]
    for side in ours:
        row = COMMANDS[side.name][2]
        agree = all(timed[name].result == COMMANDS[name][1] for name in (SCALE, side.name))
        yield Comparison(f"start-up: {side.name}", "s", scale, side, agree, limit=LIMIT, row=row)


if __name__ == "__main__":
    sys.exit(script(measure))

"""Start-up of commands that need no torch, in fresh processes: `python tests/benchmarks/bench_startup.py`."""

from __future__ import annotations

import subprocess
import sys

from harness import alternate, describe, report

GOAL_SECONDS = 1.0
COMMANDS = {
    "--help": ["-m", "lt_bench", "--help"],
    "a mistyped key": ["-m", "lt_bench", "train.epoch=3"],
    "a run that is checked only": ["-m", "lt_bench", "--dry-run"],
    "import torch, for scale": ["-c", "import torch"],
}


def main() -> int:
    """Time the commands in turn; 1 if one of ours is slower than the goal."""
    print(describe())
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    calls = {
        name: lambda words=words: subprocess.run([sys.executable, *words], **silent) for name, words in COMMANDS.items()
    }
    seconds = alternate(calls, rounds=5)
    report("start-up", seconds, "import torch, for scale", "--help")
    slow = [name for name in list(COMMANDS)[:-1] if sorted(seconds[name])[2] > GOAL_SECONDS]
    print(f"  goal {GOAL_SECONDS:g} s: {'met' if not slow else 'MISSED by ' + ', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

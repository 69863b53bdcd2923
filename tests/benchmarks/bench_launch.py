"""A sweep of 1,000 runs, planned, queued and planned again when it is done: `python tests/benchmarks/bench_launch.py`.

The queue is a stand-in for SLURM's commands, which takes no time; everything else is what a user's sweep does.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QUEUE_SECONDS, PLAN_SECONDS = 30.0, 5.0
METHODS = "ce,balanced_softmax,ldam_drw,supcon,sbcl,bcl,paco,gpaco,proco,gpaco_multitask"
WORDS = (f"method={METHODS}", "imbalance=if100,if50,if20,if10,native", "seed=range(20)", "launch=slurm")
COMMANDS = {"sbatch": "echo Submitted batch job $$", "srun": "", "squeue": "", "sacct": "", "scontrol": ""}


def main() -> int:
    """Time both; 1 if one of them is slower than its goal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for command, text in COMMANDS.items():
            (folder / command).write_text(f"#!/bin/sh\n{text}\n")
            (folder / command).chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        runs = folder / "runs"
        queued = _timed(
            "plan and queue", QUEUE_SECONDS, ["-m", "lt_bench", "-m", *WORDS, f"output_dir={runs}"], environment
        )
        print(f"  {_finish(runs, folder / 'sample')} runs are given a record")
        words = ["-m", "lt_bench.launch", "submit", *WORDS, f"output_dir={runs}"]
        planned = _timed("plan what is done", PLAN_SECONDS, words, environment)
    return 0 if queued <= QUEUE_SECONDS and planned <= PLAN_SECONDS else 1


def _timed(title: str, goal: float, words: list[str], environment: dict[str, str]) -> float:
    start, before = time.perf_counter(), _processor()
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    said = done.stderr.strip().splitlines()[0]
    print(f"{title}: {seconds:.1f} s ({_processor() - before:.1f} s of a processor), goal {goal:g} s: ", end="")
    print("met" if seconds <= goal else "MISSED", f"({said})")
    return seconds


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _finish(runs: Path, other: Path) -> int:
    """Give every run a record, as if it were done: that of a short run with another identity."""
    words = ["-m", "lt_bench", "method=ce", "stage_two=none", "budget=smoke", "progress=false", f"output_dir={other}"]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    records = [json.loads(path.read_text()) for path in other.glob("*/record.json")]
    sample = next(record for record in records if record["kind"] == "run")
    folders = [path.parent for path in runs.glob("*/submission.json")]
    for folder in folders:
        (folder / "record.json").write_text(json.dumps({**sample, "run_id": folder.name}))
    return len(folders)


if __name__ == "__main__":
    sys.exit(main())

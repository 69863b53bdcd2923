"""A sweep of 1,000 runs, planned, queued, and again when it is done: `python tests/benchmarks/bench_launch.py`.

The queue is a stand-in for SLURM's commands, which takes no time; everything else is what a user's sweep does. Beside
it stands a command of its own for each of a few of the runs. Both are seconds of a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Comparison, Measured, script

SHOW_LIMIT, QUEUE_LIMIT, PLAN_LIMIT = 0.004, 0.03, 0.005  # seconds of a run
METHODS = "ce,balanced_softmax,ldam_drw,supcon,sbcl,bcl,paco,gpaco,proco,gpaco_multitask"
FACTORS = "if100,if50,if20,if10,native"
COMMANDS = {"sbatch": "echo Submitted batch job $$", "srun": "", "squeue": "", "sacct": "", "scontrol": ""}


class Sweep:
    """Runs of method ``ce`` or of all, in a folder of their own, and SLURM's commands."""

    def __init__(self, folder: Path, tiny: bool) -> None:
        (folder / "bin").mkdir()
        for command, text in COMMANDS.items():
            (folder / "bin" / command).write_text(f"#!/bin/sh\n{text}\n")
            (folder / "bin" / command).chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        self.folder = folder
        self.said: dict[str, str] = {}
        methods, factors, self.seeds = ("ce", "if100", 8) if tiny else (METHODS, FACTORS, 20)
        self.axes = [f"method={methods}", f"imbalance={factors}"]
        self.count = len(methods.split(",")) * len(factors.split(",")) * self.seeds
        self.few = 1 if tiny else 5

    def at_once(self, *command: str) -> float:
        """Seconds of a run, where one command has all."""
        return self.seconds("all", *command, *self.axes, f"seed=range({self.seeds})") / self.count

    def one_by_one(self, *command: str) -> list[float]:
        """Seconds of each of a few runs that have a command of their own."""
        words = ("method=ce", "imbalance=if100")
        return [self.seconds("few", *command, *words, f"seed={seed}") for seed in range(self.few)]

    def seconds(self, name: str, *words: str) -> float:
        """Of a command whose runs lie in the folder of this name."""
        command = [sys.executable, "-m", *words, "launch=slurm", f"output_dir={self.folder / name}"]
        start = time.perf_counter()
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        self.said[name] = done.stdout + done.stderr
        return time.perf_counter() - start

    def queued(self) -> bool:
        """Whether every run has been handed to the queue, on both sides."""
        found = [len([*(self.folder / name).glob("*/submission.json")]) for name in ("all", "few")]
        return found == [self.count, self.few]

    def planned(self) -> bool:
        """Whether the last commands have planned every run, on both sides."""
        return all(f"to do: {count}" in self.said[name] for name, count in (("all", self.count), ("few", 1)))

    def finish(self) -> None:
        """Give every run a record, as if it were done: that of a short run with another identity."""
        words = ["-m", "lt_bench", "method=ce", "stage_two=none", "budget=smoke", "progress=false"]
        other = self.folder / "sample"
        subprocess.run([sys.executable, *words, f"output_dir={other}"], check=True, capture_output=True)
        records = [json.loads(path.read_text()) for path in other.glob("*/record.json")]
        sample = next(record for record in records if record["kind"] == "run")
        for path in self.folder.glob("*/*/submission.json"):
            (path.parent / "record.json").write_text(json.dumps({**sample, "run_id": path.parent.name}))

    def repeated(self) -> bool:
        """Whether the last command over all runs has found them done."""
        return f"done: {self.count}" in self.said["all"]


def measure(tiny: bool) -> Iterator[Comparison]:
    """Both, each with its limit."""
    with tempfile.TemporaryDirectory() as name:
        sweep = Sweep(Path(name), tiny)
        for what, words, limit, agrees in (
            ("planned", ("lt_bench.launch", "plan"), SHOW_LIMIT, sweep.planned),
            ("planned and queued", ("lt_bench", "-m"), QUEUE_LIMIT, sweep.queued),
            ("planned when done", ("lt_bench.launch", "submit"), PLAN_LIMIT, sweep.repeated),
        ):
            if agrees == sweep.repeated:
                sweep.finish()
            ours = Measured.of("one command", sweep.at_once(*words))
            theirs = Measured.of("a command for each run", *sweep.one_by_one(*words))
            agree = agrees()
            row = f"a run of {sweep.count:,} that are {what}"
            yield Comparison(row, "s", theirs, ours, agree, limit=limit, row=row)


if __name__ == "__main__":
    sys.exit(script(measure))

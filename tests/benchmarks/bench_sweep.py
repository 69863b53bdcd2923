"""Tiny runs of a sweep, forked from one process against a new process each: `python tests/benchmarks/bench_sweep.py`.

Both sides do the same runs (`method=ce budget=smoke`, one at a time, one thread); the results must be equal.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Comparison, Measured, script

from lt_bench.launch.local.process_pool import Job, ProcessPool
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze
from lt_bench.record.folder import code_version
from lt_bench.record.record import RunRecord, read_record

OVERRIDES = ("method=ce", "stage_two=none", "budget=smoke", "progress=false", "device=cpu")


def measure(tiny: bool) -> Iterator[Comparison]:
    """Seconds and CPU seconds of both; they agree where all records are equal."""
    count = 2 if tiny else 40
    with tempfile.TemporaryDirectory() as folder:
        (theirs, expected), (ours, found) = (carry_out(Path(folder), count, fork) for fork in (False, True))
    what = f"{count} tiny runs of a sweep, one after the other"
    for unit in ("s", "CPU s"):
        sides = Measured.of("a new process each", theirs[unit]), Measured.of("forks of one process", ours[unit])
        yield Comparison(what, unit, *sides, agree=found == expected, row=what)


def carry_out(folder: Path, count: int, fork: bool) -> tuple[dict[str, float], list[RunRecord]]:
    """Wall and CPU seconds of all runs, and their records."""
    runs = plan([*OVERRIDES, f"seed=range({count})", f"output_dir={folder / str(fork)}"])
    code = code_version()
    jobs = [Job(freeze(Submission(run.config, False, code, run.overrides), run.identity)) for run in runs]
    wall, cpu = time.perf_counter(), cpu_seconds()
    ProcessPool(jobs, 1, {**os.environ, "OMP_NUM_THREADS": "1"}, fork=fork).work()
    spent = {"s": time.perf_counter() - wall, "CPU s": cpu_seconds() - cpu}
    return spent, [read_record(job.folder / "record.json") for job in jobs]


def cpu_seconds() -> float:
    """Of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(script(measure))

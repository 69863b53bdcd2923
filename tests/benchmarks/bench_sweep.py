"""Small runs of a sweep, forked from one process against a new process each: `python tests/benchmarks/bench_sweep.py`.

Both sides do the same runs one after the other on one thread of the CPU; the results must be equal. Tiny runs are
mostly start-up; one seed of the digits table is mostly training, with stage ones that several rules share.
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

from lt_bench.launch.local.process_pool import ProcessPool
from lt_bench.launch.planning.plan import PlannedRun, plan
from lt_bench.launch.planning.run_groups import run_groups
from lt_bench.launch.states import states
from lt_bench.record.folder import code_version
from lt_bench.record.record import RunRecord, read_record

TINY_RUNS = ("method=ce", "stage_two=none", "budget=smoke")
DIGITS_DEMO = ("experiment=digits_demo", "seed=0", "split_seed=0")
HERE = ("progress=false", "device=cpu")
CPU_GOAL = 8.0  # of tiny runs


def measure(tiny: bool) -> Iterator[Comparison]:
    """Seconds and CPU seconds of both; they agree where all records are equal."""
    count = 2 if tiny else 40
    tiny_runs = f"{count} tiny runs of a sweep, one after the other"
    yield from compare(tiny_runs, [*TINY_RUNS, f"seed=range({count})"], goal=CPU_GOAL)
    budget = "smoke" if tiny else "paper"
    yield from compare(
        "one seed of `digits_demo`, one run after the other",
        [*DIGITS_DEMO, f"budget={budget}"],
        first=2 if tiny else None,
    )


def compare(
    what: str, overrides: list[str], goal: float | None = None, first: int | None = None
) -> Iterator[Comparison]:
    """The ``first`` runs of a sweep, or all, on both sides."""
    found: dict[bool, tuple[dict[str, float], list[RunRecord]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for fork in (False, True):
            folder = Path(name) / str(fork)
            found[fork] = carry_out(plan([*overrides, *HERE, f"output_dir={folder}"])[:first], fork)
    (theirs, expected), (ours, records) = found[False], found[True]
    for unit in ("s", "CPU s"):
        sides = Measured.of("a new process each", theirs[unit]), Measured.of("forks of one process", ours[unit])
        asked = goal if unit == "CPU s" else None
        yield Comparison(what, unit, *sides, agree=records == expected, goal=asked, row=what)


def carry_out(runs: list[PlannedRun], fork: bool) -> tuple[dict[str, float], list[RunRecord]]:
    """Wall and CPU seconds of all runs, and their records."""
    code = code_version()
    groups = run_groups(runs, states(place for run in runs for place in (run.folder, run.stage_one_folder)))
    jobs = [job for group in groups for job in group.submit(code)]
    wall, cpu = time.perf_counter(), cpu_seconds()
    ProcessPool(jobs, 1, {**os.environ, "OMP_NUM_THREADS": "1"}, fork=fork).work()
    spent = {"s": time.perf_counter() - wall, "CPU s": cpu_seconds() - cpu}
    return spent, [read_record(run.folder / "record.json") for run in runs]


def cpu_seconds() -> float:
    """Of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(script(measure))

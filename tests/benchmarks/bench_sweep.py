"""Tiny runs of a sweep, forked from one process against a new process each: `python tests/benchmarks/bench_sweep.py`.

Both sides do the same runs (`method=ce budget=smoke`, one at a time, one thread); the results must be equal. The
number of runs can be given: `python tests/benchmarks/bench_sweep.py --runs 4`.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from lt_bench.launch.local.process_pool import Job, ProcessPool
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze
from lt_bench.record.folder import code_version
from lt_bench.record.record import read_record

OVERRIDES = ("method=ce", "stage_two=none", "budget=smoke", "progress=false", "device=cpu")


def main() -> int:
    """Print seconds, CPU seconds and their ratios; 1 where the two sides do not agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    count = parser.parse_args().runs
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for fork in (False, True):
            jobs = _jobs(Path(name) / str(fork), count)
            wall, cpu = time.perf_counter(), _cpu_seconds()
            ProcessPool(jobs, 1, {**os.environ, "OMP_NUM_THREADS": "1"}, fork=fork).work()
            wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
            records = [read_record(job.folder / "record.json") for job in jobs]
            found[fork] = wall, cpu, records
            how = "forks of one process" if fork else "a new process each"
            print(f"{count} runs, {how:<22} {wall:7.1f} s  {cpu:7.1f} CPU s")
    (wall, cpu, records), (fork_wall, fork_cpu, fork_records) = found[False], found[True]
    print(f"ratio of seconds {wall / fork_wall:.1f}, of CPU seconds {cpu / fork_cpu:.1f}")
    return int(records != fork_records)


def _jobs(output_dir: Path, count: int) -> list[Job]:
    runs = plan([*OVERRIDES, f"seed=range({count})", f"output_dir={output_dir}"])
    code = code_version()
    return [Job(freeze(Submission(run.config, False, code, run.overrides), run.identity)) for run in runs]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())

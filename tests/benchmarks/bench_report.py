"""A report over 10,000 records, from their files and from the cache: `python tests/benchmarks/bench_report.py`.

Every record is a file in a folder of its own, as runs leave them, of settings with 20 seeds each. ``--large`` takes
100,000 as well, which need 1 GB of disk and minutes. Both sides are commands in processes of their own.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from harness import Comparison, Measured, script

from lt_bench.data.files.digests import SETTLED_NS
from lt_bench.record.collect import read_records

RECORDS = Path(__file__).parents[2] / "results" / "records" / "digits_demo.jsonl"
SEEDS, SETTINGS = 20, 25  # of a setting, and of a table
LIMITS = {10_000: 4.0, 100_000: 45.0}  # seconds of a report from the cache
LARGE = "--large"


def measure(tiny: bool, large: bool = False) -> Iterator[Comparison]:
    """Reports over more and more records; the sides agree where all tables are byte for byte the same."""
    for count in [600] if tiny else [*LIMITS][: 1 + large]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_records(folder / "runs", count)
            time.sleep(SETTLED_NS / 1e9)  # what was written just now is not kept
            seconds, tables = zip(*(report(folder, f"{number}") for number in range(2)), strict=True)
        sides = Measured.of("every record read", seconds[0]), Measured.of("from the cache", seconds[1])
        row = f"a report over {count:,} records"
        yield Comparison(row, "s", *sides, agree=tables[0] == tables[1], limit=LIMITS.get(count), row=row)


def report(folder: Path, out: str) -> tuple[float, dict[str, bytes]]:
    """Seconds of a report over the runs in a folder, and its tables."""
    command = [sys.executable, "-m", "lt_bench.report", "--runs", str(folder / "runs"), "--out", str(folder / out)]
    start = time.perf_counter()
    environment = {**os.environ, "LT_BENCH_CACHE": str(folder / "cache")}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start, {path.name: path.read_bytes() for path in (folder / out).iterdir()}


def write_records(folder: Path, count: int) -> None:
    """So many records of runs: a published one with other seeds, rates, imbalances and accuracies."""
    values = next(one for one in read_records([RECORDS]) if one.kind == "run").to_dict()
    random = np.random.RandomState(0)
    for number, (setting, seed) in enumerate(itertools.product(range(-(-count // SEEDS)), range(SEEDS))):
        table, row = divmod(setting, SETTINGS)
        settings = {**values["settings"], "train.lr": 0.01 * (1 + row), "imbalance.factor": 2.0 + table}
        changed = {"settings": settings, "imbalance_factor": 2.0 + table, "seed": seed, "run_id": f"{number:012x}"}
        metrics = {**values["metrics"], "top1": round(random.rand(), 4)}
        record = {**values, **changed, "setting_id": f"{setting:012x}", "metrics": metrics}
        place = folder / f"{number:012x}"
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    asked = LARGE in sys.argv
    sys.argv = [word for word in sys.argv if word != LARGE]
    sys.exit(script(partial(measure, large=asked)))

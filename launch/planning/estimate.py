"""The estimated cost of runs, from the records of earlier ones."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from lt_bench.config.schema import Config, Launch
from lt_bench.machine import gpu_name
from lt_bench.record.collect import read_records
from lt_bench.record.identity import setting_id
from lt_bench.record.record import RunRecord

from .plan import PlannedRun

SECONDS = ("seconds", "stage_one_seconds")


class Estimate(NamedTuple):
    """GPU-hours (CPU-hours where no GPU is used) of the runs with similar records, and how many runs have none.

    The records are of one device; another one may take any other time.
    """

    hours: float
    records: int
    unknown: int
    device: str

    def __str__(self) -> str:
        if not self.records:
            where = f" on {self.device}" * bool(self.device)
            return (
                f"no estimate: its hours are not known, because no similar run was measured{where} in this folder yet"
            )
        kind = "CPU-process-hours" if self.device == "cpu" else "GPU-hours"
        unknown = f"; {self.unknown} runs without similar records" if self.unknown else ""
        return (
            f"about {self.hours:.2g} {kind} on {self.device}, from the records of {self.records} earlier runs{unknown}"
        )


def expected_cost(runs: Sequence[PlannedRun], stage_one_done: Mapping[str, bool]) -> Estimate:
    """The cost of the runs of a sweep, from the records in its folder; ``stage_one_done`` by identity."""
    if not (records := earlier_records(runs[0].output_dir)):
        return Estimate(0.0, 0, len(runs), "")
    return estimate(runs, stage_one_done, records, _device(runs[0].config))


def estimate(
    runs: Iterable[PlannedRun], stage_one_done: Mapping[str, bool], records: list[RunRecord], device: str | None = None
) -> Estimate:
    """The cost of some runs on a device; each stage one counts once, and not where it is done.

    ``device`` None: nobody knows which one they get, and the one of which there are most records stands for it.

    A run costs the median of its setting's records, else that of the runs with its data set, method, backbone, stage
    two and budget. Seconds count once per process; of a GPU that several runs share, each run counts its part.
    """
    known: dict[Any, list[RunRecord]] = defaultdict(list)
    measured = [*filter(_tells_cost, records)]
    if device is None and measured:
        count = Counter(record.cost["device"] for record in measured)
        device = min(count, key=lambda name: (-count[name], name))
    for record in (one for one in measured if one.cost["device"] == device):
        for key in (record.setting_id, _kind(record)):
            known[key].append(record)
    hours, unknown, used, counted = 0.0, 0, set[str](), set[str]()
    for run in runs:
        similar = known.get(setting_id(run.config)) or known.get(_kind_of_run(run))
        if not similar:
            unknown += 1
            continue
        used |= {record.run_id for record in similar}
        hours += _share(run.config.launch) * _median(similar, SECONDS[0]) / 3600
        if not stage_one_done[run.stage_one] and run.stage_one not in counted:
            counted.add(run.stage_one)
            hours += _share(run.config.launch) * _median(similar, SECONDS[1]) / 3600
    return Estimate(hours, len(used), unknown, device or "")


def _device(config: Config) -> str | None:
    """The device of runs that are computed here, as records name it; None for those of a cluster."""
    if config.launch.executor != "local":
        return None
    return (None if config.device == "cpu" else gpu_name()) or "cpu"


def earlier_records(output_dir: str) -> list[RunRecord]:
    """All records under a folder; none where there is no such folder, or where they contradict each other."""
    path = Path(output_dir).expanduser()
    try:
        return read_records([path], metrics=(), check=False) if path.is_dir() else []
    except (OSError, ValueError) as error:
        print(f"lt_bench: warning: no estimate: {error}", file=sys.stderr)
        return []


def _tells_cost(record: RunRecord) -> bool:
    """Whether a record is that of a whole run, with a cost as we write it: others may lack it."""
    numbers = *map(record.cost.get, SECONDS), record.environment.get("processes", 1)
    known = all(isinstance(number, (int, float)) for number in numbers)
    return record.kind == "run" and known and isinstance(record.cost.get("device"), str)


def _median(records: list[RunRecord], key: str) -> float:
    return median(record.cost[key] * record.environment.get("processes", 1) for record in records)


def _share(launch: Launch) -> float:
    return 1 / launch.runs_per_gpu


def _kind(record: RunRecord) -> tuple[str, ...]:
    return (record.dataset, record.method, record.backbone, record.stage_two, record.budget)


def _kind_of_run(run: PlannedRun) -> tuple[str, ...]:
    config = run.config
    names = (config.dataset.name, config.method["name"], config.backbone["name"], config.stage_two.name)
    return (*names, config.budget.in_records)

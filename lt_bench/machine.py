"""The processor cores that a process may use, how busy they are with the work of others, and how its threads wait."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lt_bench.config.schema import Launch

CONTROL_GROUPS = Path("/sys/fs/cgroup")
# A thread that waits for another spins this often, about 0.1 ms, and then sleeps: however long it waits, it loses not
# much more than with the better of both. GNU's OpenMP, which PyTorch's wheels bring, spins 300,000 times by default, and
# longer than another process holds the core that the other thread needs; Intel's and LLVM's for 200 ms, here for 1 ms.
BRIEF = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}
WAITING = ("OMP_WAIT_POLICY", *BRIEF)


def wait_briefly() -> None:
    """Let waiting threads sleep soon, unless the environment says how they wait; to be called before torch is imported.

    OpenMP reads the environment when it is loaded, so afterwards this would have no effect, and changes nothing.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in WAITING):
        os.environ.update(BRIEF)


def waiting() -> str:
    """How threads wait, as the environment says it."""
    chosen = [f"{name}={os.environ[name]}" for name in WAITING if name in os.environ]
    brief = [f"{name}={value}" for name, value in BRIEF.items()]
    return "threads that wait sleep soon" if chosen == brief else ", ".join(chosen) or "threads wait as OpenMP has it"


def usable_cores() -> int:
    """Cores of this process: by its affinity, its control groups and SLURM, shared with what torchrun started here."""
    cores = min([float(len(_affinity())), *_quotas()])
    if task := os.environ.get("SLURM_CPUS_PER_TASK"):
        return max(1, int(min(cores, int(task))))
    return max(1, int(cores) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def share_of_cores(launch: Launch) -> int:
    """Cores of a run, or of each of its processes: its share among the runs that run at the same time."""
    if launch.executor == "slurm":
        return max(1, launch.cpus_per_task // launch.runs_per_gpu)
    return max(1, usable_cores() // launch.parallel_runs)


class OthersWork:
    """How busy the cores of this process are with other processes, from the moment that this is made on."""

    def __init__(self) -> None:
        self._start = _Reading.now()

    def free_cores(self, least_seconds: float = 0.1) -> float | None:
        """Cores that others left free meanwhile, which is at least so many seconds; None where the system says nothing.

        Time that a virtual machine was not given counts as the work of others.
        """
        start = self._start
        time.sleep(max(0.0, start.wall + least_seconds - time.monotonic()))
        now = _Reading.now()
        if now.ticks <= start.ticks:
            return None
        cores = len(_affinity())
        idle = cores * (now.idle - start.idle) / (now.ticks - start.ticks)
        return min(float(cores), idle + (now.own - start.own) / (now.wall - start.wall))


class _Reading(NamedTuple):
    """Seconds on the clock, CPU seconds of this process, and ticks of its cores: idle ones, and all."""

    wall: float
    own: float
    idle: int
    ticks: int

    @classmethod
    def now(cls) -> _Reading:
        names = {f"cpu{number}" for number in _affinity()}
        try:
            lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        except OSError:
            lines = []
        # user, nice, system, idle, waiting for a disk, interrupts (two), stolen; guests are in the first two (proc(5))
        counts = [[int(count) for count in rest[:8]] for name, *rest in map(str.split, lines) if name in names]
        idle, ticks = sum(sum(each[3:5]) for each in counts), sum(map(sum, counts))
        return cls(time.monotonic(), time.process_time(), idle, ticks)


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _quotas() -> Iterator[float]:
    """Cores that each control group above this process grants it: cpu.max of version 2, or cfs_quota of version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CONTROL_GROUPS / controllers
        group = root / name.lstrip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
            try:
                if controllers:
                    quota, period = ((folder / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
            except (OSError, ValueError):  # the root has none, a container may not see its own group
                continue
            if quota.strip() not in ("max", "-1"):
                yield int(quota) / int(period)

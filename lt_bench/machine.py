"""The processor cores that a process may use, how busy they are with the work of others, and how its threads wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lt_bench.config.schema import MOST_THREADS, Launch
from lt_bench.errors import UsageError

CONTROL_GROUPS = Path("/sys/fs/cgroup")
# A thread that waits for another spins so often, 0.1 ms or some µs, and then sleeps: at once where the other one may
# have lost its core to another process. GNU's OpenMP, which PyTorch's wheels bring, spins 300,000 times by default,
# longer than such a process holds a core; Intel's and LLVM's, whose number is in ms, for 200 ms.
SOON = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}
AT_ONCE = {"GOMP_SPINCOUNT": "100", "KMP_BLOCKTIME": "0"}
WAITING = ("OMP_WAIT_POLICY", *SOON)
THREADS = "OMP_NUM_THREADS"


def wait_briefly() -> None:
    """Let waiting threads sleep soon, or at once where others work now, unless the environment says how they wait.

    To be called before torch is imported: OpenMP reads the environment when it is loaded. Afterwards nothing changes.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in WAITING):
        free = OthersWork().free_cores(least_seconds=0.05)
        os.environ.update(SOON if free is None or round(free) >= len(_affinity()) else AT_ONCE)


def waiting() -> str:
    """How threads wait, as the environment says it."""
    chosen = {name: os.environ[name] for name in WAITING if name in os.environ}
    known = {"sleep soon": SOON, "sleep at once": AT_ONCE, "spin as OpenMP has it": {}}
    said = next((words for words, values in known.items() if values == chosen), None)
    return f"waiting threads {said}" if said else ", ".join(f"{name}={value}" for name, value in chosen.items())


def usable_cores() -> int:
    """Cores of this process: by its affinity, its control groups and SLURM, shared with what torchrun started here.

    SLURM's number is that of each of its own tasks, which torchrun may divide once more.
    """
    task = given("SLURM_CPUS_PER_TASK")
    here = (given("LOCAL_WORLD_SIZE") or 1) if (given("WORLD_SIZE") or 1) > 1 else 1  # alone, a shell's left-over
    cores = int(min([float(len(_affinity())), *_quotas(), *([float(task)] if task else [])]))
    return max(1, cores if task and "TORCHELASTIC_RUN_ID" not in os.environ else cores // here)


def given(name: str) -> int | None:
    """A number from 1 that the environment gives, of a list of them the first; None for none or for other words."""
    words = os.environ.get(name, "").partition(",")[0].strip()
    return int(words) or None if words.isdecimal() and len(words) < 10 else None


def gpu_name() -> str | None:
    """The name of this machine's first GPU as its driver says it, which is PyTorch's too; None where there is none.

    A process that is shown no GPU by CUDA_VISIBLE_DEVICES has none.
    """
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    try:
        found = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = found.stdout.splitlines() if found.returncode == 0 else []
    return names[0].strip() if names else None


def odd_threads() -> list[str]:
    """A line where OMP_NUM_THREADS is no number and so is ignored; raises UsageError where it is far too large.

    To be called before anything computes, which would start so many.
    """
    words, number = os.environ.get(THREADS, "").strip(), given(THREADS)
    if number is not None and number > MOST_THREADS:
        raise UsageError(f"{THREADS}={number} in the environment: it takes numbers from 1 to {MOST_THREADS}; unset it")
    return [f"{THREADS}={words[:40]} in the environment is no number from 1: ignored"] if words and not number else []


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

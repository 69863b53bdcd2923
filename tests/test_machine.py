"""Cores that a process may use and that others leave free, and how its threads wait."""

import os
import sys
import time

import pytest

from lt_bench import machine
from lt_bench.config.schema import Launch
from lt_bench.machine import OthersWork, share_of_cores, usable_cores, wait_briefly, waiting


@pytest.fixture
def eight_cores(monkeypatch, tmp_path):
    """A machine of eight cores that nothing restricts; the folder of its control groups."""
    for name in ("SLURM_CPUS_PER_TASK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "_affinity", lambda: set(range(8)))
    monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "cores"),
    [({}, 8), ({"SLURM_CPUS_PER_TASK": "3"}, 3), ({"SLURM_CPUS_PER_TASK": "64"}, 8),
     ({"WORLD_SIZE": "9", "LOCAL_WORLD_SIZE": "3"}, 2), ({"WORLD_SIZE": "9", "LOCAL_WORLD_SIZE": "9"}, 1),
     ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "SLURM_CPUS_PER_TASK": "5"}, 5),
     ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "SLURM_CPUS_PER_TASK": "6", "TORCHELASTIC_RUN_ID": "none"}, 3),
     ({"SLURM_CPUS_PER_TASK": "several"}, 8), ({"SLURM_CPUS_PER_TASK": ""}, 8),
     ({"WORLD_SIZE": "9", "LOCAL_WORLD_SIZE": "0"}, 8), ({"LOCAL_WORLD_SIZE": "4"}, 8),
     ({"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "4"}, 8)],
)  # fmt: skip
def test_cores_by_the_environment(environment, cores, eight_cores, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert usable_cores() == cores


def groups_of(text, monkeypatch):
    """Let /proc/self/cgroup hold a text."""
    read = machine.Path.read_text
    own = machine.Path("/proc/self/cgroup")
    monkeypatch.setattr(machine.Path, "read_text", lambda path, **how: text if path == own else read(path, **how))


@pytest.mark.parametrize(
    ("quotas", "cores"),
    [({}, 8), ({"a/b/cpu.max": "max 100000"}, 8), ({"a/b/cpu.max": "350000 100000"}, 3),
     ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "500000 100000"}, 2), ({"a/b/cpu.max": "50000 100000"}, 1)],
)  # fmt: skip
def test_cores_by_control_groups(quotas, cores, eight_cores, monkeypatch):
    for name, text in quotas.items():
        (eight_cores / name).parent.mkdir(parents=True, exist_ok=True)
        (eight_cores / name).write_text(f"{text}\n")
    groups_of("0::/a/b\n", monkeypatch)
    assert usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("400000", 4)])
def test_cores_by_control_groups_of_version_1(quota, cores, eight_cores, monkeypatch):
    folder = eight_cores / "cpu,cpuacct" / "docker"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    groups_of("5:memory:/docker\n4:cpu,cpuacct:/docker\n", monkeypatch)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("launch", "cores"),
    [(Launch(), 8), (Launch(parallel_runs=3), 2), (Launch(parallel_runs=20), 1),
     (Launch("slurm", cpus_per_task=7, runs_per_gpu=2), 3)],
)  # fmt: skip
def test_share_of_a_run(launch, cores, eight_cores):
    assert share_of_cores(launch) == cores


class Stat:
    """A stand-in for /proc/stat of eight cores, whose counts a test advances."""

    def __init__(self):
        self.busy, self.idle, self.stolen = [0] * 9, [0] * 9, [0] * 9

    def text(self):
        rows = [f"cpu{n} {self.busy[n]} 0 0 {self.idle[n]} 0 0 0 {self.stolen[n]} 0 0" for n in range(9)]
        return "\n".join(["cpu  1 1 1 1 1 1 1 1 0 0", *rows, "intr 5"])


def test_cores_that_others_leave_free(eight_cores, monkeypatch):
    """Idle time counts, as does what this process used itself; a stolen core and one of other processes do not."""
    stat, clock = Stat(), {"monotonic": 100.0, "process_time": 5.0}
    monkeypatch.setattr(machine.Path, "read_text", lambda path, **how: stat.text())
    for name in clock:
        monkeypatch.setattr(time, name, lambda name=name: clock[name])
    others = OthersWork()
    clock["monotonic"], clock["process_time"] = 102.0, 6.5  # three quarters of a core
    stat.busy = [200, 200, 200, 0, 100, 0, 0, 0, 0]  # the ninth is not ours to use
    stat.idle = [0, 0, 0, 200, 100, 200, 200, 0, 200]
    stat.stolen[7] = 200
    assert others.free_cores() == pytest.approx(3.5 + 0.75)


def test_without_counts_nothing_is_known_of_others(eight_cores, monkeypatch):
    def refuse(path, **how):
        raise FileNotFoundError(path)

    monkeypatch.setattr(machine.Path, "read_text", refuse)
    assert OthersWork().free_cores(least_seconds=0) is None


@pytest.mark.parametrize(
    ("given", "free", "shown"),
    [({}, 8.0, "waiting threads sleep soon"), ({}, None, "waiting threads sleep soon"),
     ({}, 7.4, "waiting threads sleep at once"), ({"OMP_WAIT_POLICY": "active"}, 7.4, "OMP_WAIT_POLICY=active"),
     ({"GOMP_SPINCOUNT": "7"}, 8.0, "GOMP_SPINCOUNT=7")],
)  # fmt: skip
def test_threads_wait_as_the_environment_says_or_else_briefly(given, free, shown, eight_cores, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(given))
    monkeypatch.setattr(OthersWork, "free_cores", lambda self, least_seconds: free)
    monkeypatch.setitem(sys.modules, "torch", None)
    wait_briefly()  # PyTorch is loaded, and nothing would change
    assert os.environ == given
    monkeypatch.delitem(sys.modules, "torch")
    wait_briefly()
    assert waiting() == shown

"""A real SLURM cluster whose jobs are killed where they take more memory than they asked for."""

import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest
from helpers.command_line import wait_for
from helpers.slurm_cluster import NODES, SlurmCluster, why_not

from lt_bench.launch.slurm.cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
PATIENCE_S = 600
KILLS = {
    "slurm.conf": """
SelectTypeParameters=CR_CPU_Memory
DefMemPerNode=4096
TaskPlugin=task/cgroup
""",
    "cgroup.conf": """
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
""",
}
MEMORY = "/sys/fs/cgroup/memory"
LITTLE = 0.125  # GB, in which PyTorch cannot be imported


@pytest.fixture(scope="module")
def cluster():
    if reason := why_not():
        pytest.skip(reason)
    if not os.access(MEMORY, os.W_OK):
        pytest.skip(f"memory cannot be limited through {MEMORY}")
    with SlurmCluster(KILLS) as started:
        yield started
    for name in NODES:
        for folder, _, _ in os.walk(f"{MEMORY}/slurm_{name}", topdown=False):
            with suppress(OSError):  # another cluster's
                os.rmdir(folder)


def test_a_job_that_is_killed_for_memory_says_so_and_ends_with_more(cluster, tmp_path, monkeypatch):
    for name, value in {**cluster.environment, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    words = ["launch=slurm", "launch.cpus_per_task=1", "launch.time_min=5", "progress=false", "device=cpu"]
    words += [f"output_dir={tmp_path}", "method=ce", "budget=smoke"]

    def typed(*arguments):
        done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def queued(said):
        (job,) = re.findall(r"queued job (\d+)", said)
        return job

    def wait_for_end(job):
        wait_for(lambda: not cluster.run("squeue", "-h", f"--jobs={job}").strip(), PATIENCE_S)
        wait_for(lambda: not {"RUNNING", "PENDING"} & set(cluster.accounts(job).values()), PATIENCE_S)

    job = queued(typed("lt_bench", "-m", *words, f"launch.mem_gb={LITTLE}"))
    wait_for_end(job)
    assert Cluster().ended([job]) == {job: "OUT_OF_MEMORY"}  # its step is, it is FAILED itself
    shown = typed("lt_bench.launch", "status", "--runs", str(tmp_path))
    assert f"job {job} was killed for memory; set launch.mem_gb={2 * LITTLE:g} (it had {LITTLE:g})" in shown
    again = queued(typed("lt_bench.launch", "retry", *words, "launch.mem_gb=4"))
    wait_for_end(again)
    assert cluster.accounts(again) == {again: "COMPLETED"}
    assert "runs: 1, done: 1" in typed("lt_bench.launch", "status", "--runs", str(tmp_path))

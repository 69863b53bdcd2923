"""Commands that need no torch start much faster than torch alone does; a run is small before it reads its data.

Of time, judged is the CPU time of the child, as a share of that of importing torch just before: other work on the
machine changes neither.
"""

import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import MODULE

COMMANDS = {"torch": (sys.executable, "-c", "import torch"), "help": (*MODULE, "--help"), "typo": (*MODULE, "sed=1")}
BEFORE_DATA = """
import re, sys
import lt_bench.run.stages as stages
def read(*_):
    sys.exit(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
stages.load_data = read
from lt_bench.__main__ import main
main(["device=cpu", "progress=false"])
"""
STATUSES = {"torch": 0, "help": 0, "typo": 2}


def cpu_seconds(command):
    """CPU time of a child, and its exit status."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status = subprocess.run(command, capture_output=True, check=False).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, status


@pytest.fixture(scope="module")
def medians():
    """Medians of three rounds in which the commands take turns."""
    rounds = [{name: cpu_seconds(command) for name, command in COMMANDS.items()} for _ in range(3)]
    assert all({name: status for name, (_, status) in one.items()} == STATUSES for one in rounds)
    return {name: statistics.median(one[name][0] for one in rounds) for name in COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["help", "typo"])
def test_help_and_a_mistyped_key_take_a_third_of_importing_torch(name, medians):
    assert medians[name] <= 0.35 * medians["torch"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_run_takes_at_most_560_mib_before_its_data(tmp_path):
    """The most that was resident; 508 of them are torch 2.14 with CUDA."""
    done = subprocess.run([sys.executable, "-c", BEFORE_DATA], cwd=tmp_path, capture_output=True, text=True)
    assert int(done.stderr) <= 560 * 1024

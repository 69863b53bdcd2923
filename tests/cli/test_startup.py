"""Commands that need no torch start much faster than torch alone does.

Judged is the CPU time of the child, as a share of that of importing torch just before: other work on the machine
changes neither.
"""

import resource
import statistics
import subprocess
import sys

import pytest
from helpers.command_line import MODULE

COMMANDS = {"torch": (sys.executable, "-c", "import torch"), "help": (*MODULE, "--help"), "typo": (*MODULE, "sed=1")}
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

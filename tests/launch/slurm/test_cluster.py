"""What is read from the output of SLURM's commands, with stand-ins for them."""

import pytest

from lt_bench.errors import UsageError
from lt_bench.launch.slurm.cluster import MAX_ARRAY_SIZE, Cluster, Queued


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Put a stand-in for a command of SLURM first on the path: what it prints, and its exit status."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def made(name, text, status=0):
        (tmp_path / name).write_text(f"#!/bin/sh\necho \"$@\" >>{tmp_path}/calls\ncat <<'E'\n{text}E\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
        return lambda: (tmp_path / "calls").read_text().splitlines()

    return made


def test_the_queue(command):
    calls = command("squeue", "7_3|RUNNING|0:12|None\n7_4|PENDING|0:00|Resources\n8|RUNNING|1-02:00:12|None\n")
    cluster = Cluster()
    assert cluster.queued == {
        "7_3": Queued("RUNNING", "None", True),
        "7_4": Queued("PENDING", "Resources", True),
        "8": Queued("RUNNING", "None", False),
    }
    assert cluster.queued and len(calls()) == 1 and "--name=lt_bench" in calls()[0] and "--me" in calls()[0]


def test_a_queue_that_cannot_be_read_is_none(command, monkeypatch):
    command("squeue", "", 1)
    assert Cluster().queued is None
    monkeypatch.setenv("PATH", "")
    assert Cluster().queued is None and Cluster().ended(["7"]) == {}
    assert Cluster().max_array_size == MAX_ARRAY_SIZE


def test_the_accounts(command):
    command("sacct", "7_3|COMPLETED\n8|CANCELLED by 0\n9_[0-4]|CANCELLED by 0\n9_0|FAILED\n")
    found = Cluster().ended(["7_3", "8", "9_0", "9_2", "10"])
    assert found == {"7_3": "COMPLETED", "8": "CANCELLED", "9_0": "FAILED", "9_2": "CANCELLED"}
    assert Cluster().ended([]) == {}


def test_the_largest_array(command):
    command("scontrol", "MaxJobCount            = 10000\nMaxArraySize            = 77\n")
    assert Cluster().max_array_size == 77


def test_the_message_of_scancel_is_in_the_error(command):
    calls = command("scancel", "")
    Cluster().cancel({"8", "7_3"})
    assert calls() == ["7_3 8"]
    command("scancel", "", 1)
    with pytest.raises(UsageError, match="scancel"):
        Cluster().cancel({"8"})

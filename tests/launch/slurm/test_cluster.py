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


def test_whether_the_node_of_a_running_job_answers(command):
    queue = "7_3|RUNNING|5:00|None\n7_4|PENDING|0:00|Resources\n8|RUNNING|5:00|None\n"
    command("squeue", queue)
    command("sinfo", "", 1)
    assert [job.answers for job in Cluster().queued.values()] == [None] * 3
    command("sinfo", "")
    assert [job.answers for job in Cluster().queued.values()] == [True] * 3
    calls = command("squeue", f"{queue}")
    command("sinfo", "node7\nnode7\nnode9\n")
    command("squeue", "8\n")  # of those nodes alone
    assert Cluster()._on_silent_nodes() == {"8"} and "--nodelist=node7,node9" in calls()[-1]


def test_a_job_that_signal_9_ended(command):
    command("sacct", "7|FAILED|137:0\n8|FAILED|0:9\n9|FAILED|1:0\n10|OUT_OF_MEMORY|0:125\n11|COMPLETED|0:0\n")
    states = {"7": "KILLED", "8": "KILLED", "9": "FAILED", "10": "OUT_OF_MEMORY", "11": "COMPLETED"}
    assert Cluster().ended(list(states)) == states


def test_a_job_of_which_a_step_ran_out_of_memory(command):
    steps = (
        "7_3|FAILED|1:0\n7_3.batch|FAILED|1:0\n7_3.0|OUT_OF_MEMORY|0:125\n8|COMPLETED|0:0\n8.1|OUT_OF_MEMORY|0:125\n"
    )
    command("sacct", f"{steps}9|FAILED|137:0\n9.0|CANCELLED by 0|0:9\n9.1|OUT_OF_MEMORY|0:9\n")
    assert Cluster().ended(["7_3", "8", "9"]) == {"7_3": "OUT_OF_MEMORY", "8": "COMPLETED", "9": "OUT_OF_MEMORY"}


def test_whether_the_cluster_chooses_partitions(command):
    command("scontrol", "JobSubmitPlugins        = (null)\n")
    assert not Cluster().chooses_partitions
    command("scontrol", "JobSubmitPlugins        = lua\n")
    assert Cluster().chooses_partitions

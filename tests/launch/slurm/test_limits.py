"""Requests that no node can ever serve, by what sinfo says: refused with the largest that can be had."""

import math

import pytest

from lt_bench.config.schema import Launch
from lt_bench.errors import UsageError
from lt_bench.launch.slurm import limits
from lt_bench.launch.slurm.limits import Node, Partition, partitions, refusal
from lt_bench.launch.sweep import run_sweep

SINFO = """\
main*|1:00:00|1-infinite|2|8192|gpu:2
main*|1:00:00|1-infinite|16|65536|(null)
long|7-00:00:00|1-4|8|1|gpu:a100:4(S:0-1),shard:64,gpu:h100:4(S:0,1)
endless|infinite|1-infinite|4|4096|(null)
"""


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(limits, "query", lambda *_: SINFO)
    return partitions()


def test_what_sinfo_says(known):
    assert known == [
        Partition("main", True, 60, math.inf, [Node(2, 8192, 2), Node(16, 65536, 0)]),
        Partition("long", False, 7 * 1440, 4, [Node(8, 1, 8)]),
        Partition("endless", False, math.inf, math.inf, [Node(4, 4096, 0)]),
    ]
    assert not any(partition.is_default for partition in partitions(chosen=True))


@pytest.mark.parametrize("said", [None, "", "no such format\n", "a|b|c|d|e|f\n"])
def test_where_sinfo_says_nothing_nothing_is_refused(said, monkeypatch):
    monkeypatch.setattr(limits, "query", lambda *_: said)
    assert partitions() == [] and refusal(Launch(executor="slurm", time_min=10**6), []) == ""


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("30:00", 30), ("1:00:00", 60), ("1-00:00:00", 1440), ("2-03:04:05", 3064), ("infinite", math.inf)],
)  # fmt: skip
def test_limits_of_time(text, minutes):
    assert limits._minutes(text) == minutes


OR_LONG = ", or launch.partition=long"
OF_MAIN = "launch.{}={} is more than {} in partition main can have; set launch.{}={}"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, ""),
        ({"partition": "long", "time_min": 10080, "gpus_per_node": 8, "mem_gb": 900}, ""),  # no size said
        ({"time_min": 61}, OF_MAIN.format("time_min", 61, "jobs", "time_min", 60) + OR_LONG),
        ({"time_min": 61, "qos": "long"}, ""),
        ({"time_min": 61, "sbatch": ["--qos=long"]}, ""),
        ({"gpus_per_node": 3}, OF_MAIN.format("gpus_per_node", 3, "nodes", "gpus_per_node", 2) + OR_LONG),
        ({"gpus_per_node": 0, "cpus_per_task": 17}, OF_MAIN.format("cpus_per_task", 17, "nodes", "cpus_per_task", 16)),
        ({"gpus_per_node": 0, "mem_gb": 64.5}, OF_MAIN.format("mem_gb", 64.5, "nodes", "mem_gb", 64) + OR_LONG),
        ({"nodes": 3}, OF_MAIN.format("nodes", 3, "jobs", "nodes", 1)),
        ({"gpus_per_node": 0, "nodes": 3}, OF_MAIN.format("nodes", 3, "jobs", "nodes", 2)),
        ({"cpus_per_task": 9}, "no node in partition main has the cores, GPUs and memory together; "
                               "they have 2 cores with 2 GPUs and 8192 MB, 16 cores with 0 GPUs and 65536 MB"),
        ({"partition": "main,long", "time_min": 90}, ""),
        ({"partition": "nowhere", "time_min": 10**6}, ""),  # sbatch knows
        ({"time_min": 61, "sbatch": ["--clusters=other"]}, ""),
        ({"partition": "main", "time_min": 99, "gpus_per_node": 9, "cpus_per_task": 1},
         OF_MAIN.format("time_min", 99, "jobs", "time_min", 60) + "; "
         + OF_MAIN.format("gpus_per_node", 9, "nodes", "gpus_per_node", 2)),
    ],
)  # fmt: skip
def test_a_request(asked, said, known):
    assert refusal(Launch(executor="slurm", **{"time_min": 60, "cpus_per_task": 1, **asked}), known) == said


def test_where_the_cluster_chooses_the_partition_any_will_do(known):
    launch = Launch(executor="slurm", time_min=61, cpus_per_task=1)
    assert refusal(launch, partitions(chosen=True)) == "" != refusal(launch, known)


def test_nothing_is_queued_where_one_request_can_never_be_served(tmp_path, monkeypatch):
    for name in ("srun", "sbatch"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(limits, "query", lambda *_: SINFO)
    words = ["launch=slurm", "method=ce", "launch.cpus_per_task=1", f"output_dir={tmp_path / 'runs'}"]
    with pytest.raises(UsageError, match="^nothing was queued, as it would wait for ever: launch.time_min=90 is more"):
        run_sweep([*words, "sweep=[{seed:1,launch.time_min:30},{seed:2,launch.time_min:90}]"])
    assert not (tmp_path / "called").exists() and not list((tmp_path / "runs").glob("*/submission.json"))

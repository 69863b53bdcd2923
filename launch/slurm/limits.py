"""Requests that no node or partition can ever serve: SLURM leaves some of them in its queue for ever.

What there is comes from sinfo: ``sbatch --test-only`` accepts times above a partition's limit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from lt_bench.config.schema import Launch

from .cluster import query


class Node(NamedTuple):
    """What a node has: cores, memory in MB and GPUs."""

    cores: int
    memory: int
    gpus: int


class Partition(NamedTuple):
    """A partition: its limits, in minutes and in nodes of a job, and its nodes."""

    name: str
    is_default: bool
    minutes: float
    most_nodes: float
    nodes: list[Node]


def partitions(chosen: bool = False) -> list[Partition]:
    """The partitions of the cluster, in the order of sinfo; none where sinfo does not say.

    ``chosen``: the cluster itself chooses one for a job that names none, so that none is the default.
    """
    found: dict[str, Partition] = {}
    output = query("sinfo", "--noheader", "--all", "--Node", "--format=%P|%l|%s|%c|%m|%G")
    for line in (output or "").splitlines():
        try:
            name, time, size, cores, memory, gpus = line.split("|", 5)
            limit, most = _minutes(time), _number(size.rpartition("-")[2])
            node = Node(int(cores), int(memory), sum(map(int, re.findall(r"\bgpu(?::[^:,()]+)?:(\d+)", gpus))))
        except ValueError:  # of another version of SLURM: nothing is refused
            return []
        new = Partition(name.removesuffix("*"), name.endswith("*") and not chosen, limit, most, [])
        found.setdefault(name, new).nodes.append(node)
    return list(found.values())


def refusal(launch: Launch, known: list[Partition]) -> str:
    """Why no node can ever serve a request, and the largest one; empty where one can, or it is not known."""
    named = set((launch.partition or "").split(",")) - {""}
    elsewhere = any(option.startswith(("--clusters", "-M")) for option in launch.sbatch)
    if elsewhere or not known or named - {partition.name for partition in known}:
        return ""
    asked = [partition for partition in known if partition.name in named or (not named and partition.is_default)]
    reasons = [list(_excesses(launch, partition)) for partition in asked or known]
    if not all(reasons):
        return ""
    others = [one.name for one in known if one not in asked and not any(_excesses(launch, one))]
    other = f", or launch.partition={others[0]}" if others else ""
    fewest = min(reasons, key=len)
    return "; ".join(fewest) + other


def _excesses(launch: Launch, partition: Partition) -> Iterator[str]:
    """What a request wants above what a partition has, each with the largest that can be had."""
    tasks, at = max(1, launch.gpus_per_node), f"in partition {partition.name}"
    cores, memory, gpus = (max(values) for values in zip(*partition.nodes, strict=True))
    has_quality = launch.qos or any(option.startswith(("--qos", "-q")) for option in launch.sbatch)
    if launch.time_min > partition.minutes and not has_quality:  # a quality of service may have a limit of its own
        yield _excess("time_min", launch.time_min, partition.minutes, f"jobs {at}")
    if launch.gpus_per_node > gpus:
        yield _excess("gpus_per_node", launch.gpus_per_node, gpus, f"nodes {at}")
    if launch.cpus_per_task * tasks > cores:
        beside = f" for {tasks} processes" if tasks > 1 else ""
        yield _excess("cpus_per_task", launch.cpus_per_task, cores // tasks, f"nodes {at}{beside}")
    if launch.mem_gb and 1024 * launch.mem_gb > memory > 1:  # 1: not configured
        yield _excess("mem_gb", launch.mem_gb, math.floor(10 * memory / 1024) / 10, f"nodes {at}")
    wanted = Node(launch.cpus_per_task * tasks, round(1024 * (launch.mem_gb or 0)) * (memory > 1), launch.gpus_per_node)
    alike = sum(all(map(_reaches, node, wanted)) for node in partition.nodes)
    most = min(partition.most_nodes, alike or len(partition.nodes))
    if launch.nodes > most:
        yield _excess("nodes", launch.nodes, most, f"jobs {at}")
    elif not alike and all(map(_reaches, (cores, memory, gpus), wanted)):
        have = ", ".join(f"{has} cores with {gpus} GPUs and {mb} MB" for has, mb, gpus in sorted({*partition.nodes}))
        yield f"no node {at} has the cores, GPUs and memory together; they have {have}"


def _reaches(has: int, wanted: int) -> bool:
    return has >= wanted


def _excess(name: str, value: float, most: float, where: str) -> str:
    return f"launch.{name}={value:g} is more than {where} can have; set launch.{name}={most:g}"


def _minutes(text: str) -> float:
    """Minutes of a limit as sinfo writes it, [days-]hours:minutes:seconds; infinite where there is none."""
    days, _, rest = text.rpartition("-")
    if not rest[0].isdigit():
        return math.inf
    parts = [*map(int, rest.split(":"))]
    hours, minutes, _ = [0] * (3 - len(parts)) + parts
    return 1440 * int(days or 0) + 60 * hours + minutes


def _number(text: str) -> float:
    return int(text) if text.isdigit() else math.inf

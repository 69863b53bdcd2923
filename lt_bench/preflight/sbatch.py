"""Requests to a cluster: words for sbatch are checked here, because they end up in a script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict

from lt_bench.config.compose import shown
from lt_bench.config.schema import Config, Launch

# Options of sbatch that keys of launch stand for, and those that cannot be chosen.
SBATCH_KEYS = {
    "time": "time_min", "mem": "mem_gb", "mem-per-cpu": "mem_gb", "mem-per-gpu": "mem_gb", "nodes": "nodes",
    "cpus-per-task": "cpus_per_task", "gpus": "gpus_per_node", "gpus-per-node": "gpus_per_node",
    "ntasks-per-node": "gpus_per_node", "ntasks": "gpus_per_node", "partition": "partition", "account": "account",
    "qos": "qos", "constraint": "constraint", "array": "array_parallelism", "signal": "signal_delay_s",
    "requeue": "max_requeues", "no-requeue": "max_requeues",
}  # fmt: skip
SBATCH_OURS = (
    "job-name", "output", "error", "open-mode", "dependency", "wrap", "parsable", "wait", "quiet", "clusters",
    "test-only", "help", "usage", "version",
)  # fmt: skip


def wrong_requests(config: Config) -> Iterator[str]:
    """Words for sbatch are checked here, because they end up in a script: one line each, options only in ``sbatch``."""
    launch = config.launch
    if launch.executor == "local":
        for key in sorted(asdict(launch).keys() - {"executor", "parallel_runs", "threads_per_run"}):
            if getattr(launch, key) != getattr(Launch(), key):
                yield f"launch.{key} is for a cluster; add launch=slurm, or leave it out"
        return
    for key in ("partition", "account", "qos", "constraint"):
        value = getattr(launch, key)
        if value is not None and (not value or not value.isprintable()):
            yield f"launch.{key}={shown(value)!r}: launch.{key}= takes one line of text"
    yield from filter(None, map(_sbatch_option, launch.sbatch))
    if launch.runs_per_gpu > 1 and (launch.nodes > 1 or launch.gpus_per_node > 1):
        yield "launch.runs_per_gpu above 1 shares one GPU; set launch.nodes=1 launch.gpus_per_node=1"
    if launch.signal_delay_s >= 60 * launch.time_min:
        yield "launch.signal_delay_s must be below the whole time of a job; set more launch.time_min"


def _sbatch_option(option: str) -> str | None:
    """What is wrong with an option for sbatch, which takes the beginning of a name for the name."""
    if not option.isprintable() or not re.fullmatch(r"--[a-z][a-z-]*(=.+)?", option):
        return f'launch.sbatch: {option!r} is no option of sbatch; write it as launch.sbatch=["--exclude=node7"]'
    name = option.removeprefix("--").partition("=")[0]
    meant = [known for known in (*SBATCH_KEYS, *SBATCH_OURS) if known.startswith(name)]
    meant = [name] if name in meant else meant
    short = f" is the beginning of --{' or --'.join(meant)}, which" if meant != [name] else ""
    if keys := dict.fromkeys(SBATCH_KEYS[known] for known in meant if known in SBATCH_KEYS):
        return f"launch.sbatch: {option!r}{short} has a key of its own; set launch.{'= or launch.'.join(keys)}="
    if meant:
        return f"launch.sbatch: --{name}{short} is what arrays of runs are made and followed with; leave it out"
    return None

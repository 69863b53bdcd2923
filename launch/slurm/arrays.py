"""Runs as job arrays of a SLURM cluster: submitit writes the scripts and requeues jobs that were stopped."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError
from submitit.helpers import clean_env

from lt_bench.config.schema import Launch
from lt_bench.errors import UsageError
from lt_bench.files import write_json

from ..planning.run_groups import Queueable
from ..submission import JOB, own_threads
from . import blocked_signals
from .cluster import JOB_NAME, Cluster
from .limits import partitions, refusal
from .task import Task

HERE_ONLY = ("executor", "parallel_runs")


def queue_groups(
    groups: Sequence[Queueable], code: Mapping[str, Any], cluster: Cluster
) -> Iterator[tuple[str, int, int]]:
    """Submit groups of runs; for every array its job id, its number of tasks and of runs, as soon as it is queued.

    One array per distinct request of resources, split where it has more tasks than the cluster allows. Raises
    UsageError where no node can ever serve a request, and then nothing is queued; also with SLURM's message where
    SLURM refuses: arrays that were queued before stay queued.
    """
    for command in ("srun", "sbatch"):
        if shutil.which(command) is None:
            raise UsageError(f"there is no {command} on this machine: type it on a cluster, or leave out launch=slurm")
    requests: dict[str, list[Queueable]] = {}
    for group in groups:
        settings = {key: value for key, value in asdict(group.launch).items() if key not in HERE_ONLY}
        requests.setdefault(f"{settings} {group.after_job}", []).append(group)
    known = partitions(cluster.chooses_partitions)
    if never := dict.fromkeys(filter(None, (refusal(alike[0].launch, known) for alike in requests.values()))):
        raise UsageError("\n".join(f"nothing was queued, as it would wait for ever: {why}" for why in never))
    for alike in requests.values():
        size = alike[0].launch.runs_per_gpu
        per_task = [alike[start : start + size] for start in range(0, len(alike), size)]
        for start in range(0, len(per_task), most := cluster.max_array_size):
            yield _queue_array(per_task[start : start + most], code)


def _queue_array(per_task: list[list[Queueable]], code: Mapping[str, Any]) -> tuple[str, int, int]:
    groups = [group for several in per_task for group in several]
    launch, after = groups[0].launch, groups[0].after_job
    jobs = [[job for group in several for job in group.submit(code)] for several in per_task]
    tasks = [Task(each, launch.runs_per_gpu, own_threads(launch)) for each in jobs]
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    folder = jobs[0][0].folder.parent / "launch" / stamp
    try:
        # -I -S: the fastest start
        python = shlex.join([sys.executable, "-I", "-S", blocked_signals.__file__])
        executor = SlurmExecutor(folder, max_num_timeout=launch.max_requeues, python=python)
        executor.update_parameters(**sbatch_parameters(launch, after))
        which = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
        with clean_env():  # a sweep may be typed inside a job
            os.environ.update(which)
            with contextlib.redirect_stderr(io.StringIO()):  # sbatch's message is in the error as well
                queued = executor.submit_array(tasks)
    except FailedJobError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(f"sbatch refused: {' '.join(str(error).split())}{_known(launch)}") from error
    except RuntimeError as error:
        raise UsageError(f"the array could not be queued: {' '.join(str(error).split())}") from error
    for job, each in zip(queued, jobs, strict=True):
        for one in each:
            write_json(one.folder / JOB, {"job": job.job_id, "logs": str(folder)})
    # so that other runs with the same stage one see that it is queued, and do not wait for its lock on a GPU
    for group in groups:
        if group.trains_stage_one:
            write_json(group.runs[0].stage_one_folder / JOB, {"run": group.runs[0].identity})
    return queued[0].job_id.partition("_")[0], len(queued), sum(len(group.runs) for group in groups)


def _known(launch: Launch) -> str:
    """The partitions that there are, where a request named one that there is not."""
    names = sorted(partition.name for partition in partitions())  # the order of sinfo changes
    if not names or launch.partition is None or {*launch.partition.split(",")} <= {*names}:
        return ""
    return f"; set launch.partition to one of {', '.join(names)}"


def sbatch_parameters(launch: Launch, after_job: str | None = None) -> dict[str, Any]:
    """The resources of a job as submitit's parameters."""
    tasks = max(1, launch.gpus_per_node)
    options = [option.removeprefix("--").partition("=") for option in launch.sbatch]
    srun = [f"--cpus-per-task={launch.cpus_per_task}"]  # since 22.05 srun ignores sbatch's
    if launch.nodes * tasks > 1:
        srun.append("--kill-on-bad-exit=1")  # the other processes of a run would wait for the one that failed
    found = {
        "job_name": JOB_NAME,
        "time": launch.time_min,
        "nodes": launch.nodes,
        "ntasks_per_node": tasks,
        "cpus_per_task": launch.cpus_per_task,
        "gpus_per_node": launch.gpus_per_node or None,
        "mem": f"{round(1024 * launch.mem_gb)}M" if launch.mem_gb else None,
        "partition": launch.partition,
        "account": launch.account,
        "qos": launch.qos,
        "constraint": launch.constraint,
        "dependency": f"afterany:{after_job}" if after_job else None,
        "array_parallelism": launch.array_parallelism,
        "signal_delay_s": launch.signal_delay_s,
        "setup": launch.setup or None,
        "additional_parameters": {"requeue": True} | {key: value if mark else True for key, mark, value in options},
        "srun_args": srun,
        "stderr_to_stdout": True,
        "wckey": None,
    }
    return {key: value for key, value in found.items() if value is not None or key == "wckey"}

"""A task on two gloo processes."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lt_bench.engine.distributed import Processes


def on_two(task: Callable[[Processes, Path], Any]) -> list[Any]:
    """What a function of the process and a folder returns on both ranks; it stands at the top of a module."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.set_forkserver_preload(["torch", "lt_bench.engine.loop"])  # which each would import anew
        mp.start_processes(_worker, (folder, task, dict(os.environ)), nprocs=2, start_method="forkserver")
        return [torch.load(Path(folder) / f"result{rank}.pt", weights_only=True) for rank in (0, 1)]


def assert_one_training(task: Callable[[Processes, Path], Any], folder: Path, tolerance: float) -> None:
    """What a task returns on two processes, the same on both, is what it returns on one, within a tolerance."""
    alone = task(Processes(0, 1, torch.device("cpu")), folder)
    first, second = on_two(task)
    assert alone.keys() == first.keys()
    for key, value in alone.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(
            first[key], value, rtol=tolerance, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}"
        )


def _worker(rank: int, folder: str, task: Callable[[Processes, Path], Any], environment: dict[str, str]) -> None:
    os.environ.update(environment)  # the server that forks has that of the first test
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.set_num_threads(1)
    torch.save(task(Processes(rank, 2, torch.device("cpu")), Path(folder)), Path(folder) / f"result{rank}.pt")
    dist.destroy_process_group()

"""Several processes: start-up from torchrun's environment, and the differentiable all-gather."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from lt_bench.errors import UsageError
from lt_bench.processes import ADVICE, Place, meeting_point, place

ARRIVAL = timedelta(minutes=10)  # imports on a slow file system take some of them
WAIT = timedelta(days=7)


class Processes(NamedTuple):
    """This process among all: its rank, their number, and the device it computes on."""

    rank: int
    world_size: int
    device: torch.device


def start(device: str) -> Processes:
    """Join the process group that torchrun or a launcher describes; one process without them.

    Raises UsageError where CUDA is asked for and there is none, where the environment describes no group, and where
    not all of its processes arrive.
    """
    here = place()
    cuda = device != "cpu" and torch.cuda.is_available()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if device != "cpu" and not cuda and visible not in ("", "-1"):  # which hide all devices on purpose
        print(f"lt_bench: note: PyTorch sees no CUDA device with CUDA_VISIBLE_DEVICES={visible}", file=sys.stderr)
    if device == "cuda" and not cuda:
        raise UsageError("device=cuda, but PyTorch sees no CUDA device; set device=cpu or device=auto")
    where = _own_gpu(here) if cuda else torch.device("cpu")
    if here.world_size > 1 and not dist.is_initialized():
        backend = "nccl" if cuda else "gloo"
        # rank 0 may wait for hours for another process's lock; SLURM or torchrun handle a process that has exited
        dist.init_process_group(backend, store=_meet(here), rank=here.rank, world_size=here.world_size, timeout=WAIT)
    return Processes(dist.get_rank() if here.world_size > 1 else 0, here.world_size, where)


def _own_gpu(here: Place) -> torch.device:
    count = torch.cuda.device_count()
    if here.local_rank is None or here.local_rank >= count:
        said = "is not in the environment" if here.local_rank is None else f"is {here.local_rank}"
        raise UsageError(
            f"LOCAL_RANK {said}, and PyTorch sees {count} CUDA device{'s' * (count > 1)}: LOCAL_RANK is the GPU of a "
            "process, counted from 0; start as many processes as there are GPUs, or set device=cpu"
        )
    device = torch.device("cuda", here.local_rank)
    torch.cuda.set_device(device)
    return device


def _meet(here: Place) -> dist.Store:
    """The store over which the processes find each other, once all have arrived."""
    point = meeting_point()
    try:
        with _ended_by_signals():
            store, _, _ = next(dist.rendezvous("env://", timeout=ARRIVAL))
    except dist.DistError as error:
        raise UsageError(
            f"process {here.rank} has not met the others of WORLD_SIZE={here.world_size} at MASTER_ADDR:MASTER_PORT="
            f"{point} within {ARRIVAL} ({str(error).partition(chr(10))[0][:200]}); {ADVICE}"
        ) from error
    return dist.PrefixStore("default_pg", store)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A block that waits in C++, where Python's handlers would wait too: signals end the process at once."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def all_gather(rows: Tensor) -> Tensor:
    """All ranks' rows (B, ...) -> (world_size * B, ...) in rank order.

    The gradient of a row is the sum of its gradients in all ranks' losses, so that averaging parameter gradients over
    ranks (as DistributedDataParallel does) gives the gradient of the loss on the joined batch.
    """
    if not dist.is_initialized():
        return rows
    gathered: Tensor = _AllGather.apply(rows)
    return gathered


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.share = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)  # autograd may reuse the given tensor
        dist.all_reduce(total)
        return total.narrow(0, dist.get_rank() * ctx.share, ctx.share)


def shard(indices: Tensor) -> tuple[Tensor, slice]:
    """Positions (n,), padded with the first to a multiple of the ranks, and which of them are this rank's."""
    ranks, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    share = -(-len(indices) // ranks)
    padded = torch.cat([indices, indices[:1].expand(share * ranks - len(indices))])
    return padded, slice(rank * share, (rank + 1) * share)


def union(mask: Tensor) -> Tensor:
    """Where the mask (N,) of any rank is true; the mask itself on one rank."""
    if not dist.is_initialized() or not len(mask):
        return mask
    counts = mask.int()
    dist.all_reduce(counts)
    return counts > 0


def barrier() -> None:
    """Wait until every process has called this; nothing on one process."""
    if dist.is_initialized():
        dist.barrier()


def agreed(read: Callable[..., Any], *arguments: Any) -> Any:
    """A value that all ranks read alike: after rank 0 has the lock, and before any rank writes."""
    barrier()
    found = read(*arguments)
    barrier()
    return found


def from_rank0(number: int, device: torch.device) -> int:
    """Rank 0's number on every rank; the number itself on one process."""
    return int(broadcast(torch.tensor(number), device)) if dist.is_initialized() else number


def broadcast(value: Tensor | None, device: torch.device) -> Tensor:
    """Rank 0's tensor on every rank; the other ranks pass None."""
    box = [None if value is None else value.cpu()]
    dist.broadcast_object_list(box, src=0)
    assert box[0] is not None
    return box[0].to(device)

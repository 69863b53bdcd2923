"""Several processes: start-up from torchrun's environment, and the differentiable all-gather."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from lt_bench.errors import UsageError


class Processes(NamedTuple):
    """This process among all: its rank, their number, and the device it computes on."""

    rank: int
    world_size: int
    device: torch.device


def start(device: str) -> Processes:
    """Join the process group that torchrun or a launcher describes; one process without them.

    Raises UsageError where CUDA is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda, but PyTorch sees no CUDA device; set device=cpu or device=auto")
    cuda = device != "cpu" and torch.cuda.is_available()
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(where)
    if world_size > 1 and not dist.is_initialized():
        # rank 0 may wait for hours for another process's lock; SLURM or torchrun handle a process that has exited
        dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(days=7))
    return Processes(dist.get_rank() if world_size > 1 else 0, world_size, where)


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

"""Batch norm over the joined batch of all processes, on any device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

ONE_PROCESS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
WITH_ACTIVATION = "timm.layers.norm_act.BatchNormAct2d"


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training mode are those of all processes' rows; in eval mode nothing is sent.

    Values, gradients and running statistics are those of one process with the joined batch, however the rows are
    shared out, and the same bits on every process. One collective of 2C + 1 numbers forward, one of 2C backward.
    Shapes: (B, C, ...) -> the same.
    Source: Ioffe & Szegedy, ICML 2015.  Deviation: none; PyTorch's own module of this name refuses the CPU.
    """

    @torch.compiler.disable  # collectives stay outside compiled graphs
    def forward(self, rows: Tensor) -> Tensor:
        """Normalise rows (B, C, ...) per channel."""
        if not (self.training and dist.is_initialized()):
            return super().forward(rows)
        mean, variance, count = _joint_statistics(rows.detach())
        if self.track_running_stats:
            self._follow(mean, variance * count / (count - 1))
        weight = mean.new_ones(len(mean)) if self.weight is None else self.weight
        bias = mean.new_zeros(len(mean)) if self.bias is None else self.bias
        normalised: Tensor = _Normalise.apply(rows, weight, bias, mean, variance, count, self.eps)
        return normalised

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected rows (B, C, ...), found {tuple(input.shape)}")

    def _follow(self, mean: Tensor, unbiased: Tensor) -> None:
        """Move the running statistics towards this batch's: by ``momentum``, or as a plain average where it is None."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else self.num_batches_tracked.to(mean.dtype).reciprocal()
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class SyncBatchNormAct(SyncBatchNorm):
    """The same of a batch norm of timm's that goes on with a block drop and an activation."""

    drop: nn.Module
    act: nn.Module

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise rows (B, C, H, W) per channel, then what follows."""
        found: Tensor = self.act(self.drop(super().forward(rows)))
        return found


def synchronise(module: nn.Module, replicated: Iterable[str] = ()) -> None:
    """Turn every batch norm inside a module into ``SyncBatchNorm``, in place: parameters, buffers, identity are kept.

    ``replicated`` names submodules whose rows are the same on every process, which are left as they are.
    Raises TypeError for a batch norm of another class, whose forward pass is not known here.
    """
    kept = {id(part) for name in replicated for part in module.get_submodule(name).modules()}
    for name, part in module.named_modules():
        if type(part) in ONE_PROCESS and id(part) not in kept:
            part.__class__ = SyncBatchNorm
        elif f"{type(part).__module__}.{type(part).__name__}" == WITH_ACTIVATION and id(part) not in kept:
            part.__class__ = SyncBatchNormAct
        elif isinstance(part, _BatchNorm) and not isinstance(part, SyncBatchNorm) and type(part) not in ONE_PROCESS:
            raise TypeError(f"{name}: {type(part).__name__} cannot be synchronised; build it from nn.BatchNorm2d")


def _joint_statistics(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and count () per channel of all processes' rows, in at least float32."""
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    variance, mean = torch.var_mean(rows, dim=(0, *range(2, rows.ndim)), correction=0)
    count = mean.new_full((1,), rows.numel() // rows.shape[1])
    own = torch.cat([count, mean, variance])
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    counts, means, variances = torch.stack(parts).split([1, len(mean), len(mean)], dim=1)
    total = counts.sum()
    shares = counts / total
    joint = (shares * means).sum(0)
    return joint, (shares * (variances + (means - joint).square())).sum(0), total


class _Normalise(torch.autograd.Function):
    """Normalisation by joint statistics, which depend on every process's rows."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(rows, weight, mean, variance, count)
        ctx.eps = eps
        return F.batch_norm(rows, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, mean, variance, count = ctx.saved_tensors
        # as if the statistics were constants, then what all rows say through them
        constant, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], rows, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_weight, of_bias])
        dist.all_reduce(sums)
        through_variance, through_mean = sums.unbind()
        inverse = (variance + ctx.eps).rsqrt()
        slope = -weight * inverse.square() * through_variance / count
        offset = -weight * inverse * through_mean / count - slope * mean
        channels = (-1, *[1] * (rows.ndim - 2))
        of_rows = constant + (rows * slope.view(channels) + offset.view(channels)).to(constant.dtype)
        return of_rows, of_weight, of_bias, None, None, None, None

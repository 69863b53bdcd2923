"""Surrogate labels: a batch is shared out among directions so that their marginals are a given prior."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.errors import SettingError

CHECK_EVERY = 10  # updates between two looks at the column means
SAFE_EXPONENT = 60.0  # products of a few such exponentials and a batch size are finite in single precision


@torch.no_grad()
def sinkhorn(
    scores: Tensor, prior: Tensor, epsilon: float, iterations: int = 300, tolerance: float | None = None
) -> Tensor:
    """The assignment closest to exp(scores / epsilon) whose rows sum to 1 and whose column means are the prior.

    Columns are scaled first and rows last, so rows sum to 1 at any time and column means are the prior in the limit.
    With a ``tolerance`` the updates end, at the latest after ``iterations``, when the column means deviate from the
    prior by no more, added up; finding out is a host read.
    Shapes: scores (n, K) within [-1, 1], prior (K,) of any sum, entries may be 0; returns (n, K), at least float32.
    Source: Cuturi, NeurIPS 2013, as in the authors' code of GH (Zhou et al., NeurIPS 2023).  Deviation: none.
    Raises SettingError for values out of range.
    """
    if not epsilon > 0:
        raise SettingError("epsilon", "above 0", epsilon, 0.05)
    if iterations < 1:
        raise SettingError("iterations", "at least 1", iterations, 300)
    if tolerance is not None and not tolerance > 0:
        raise SettingError("tolerance", "above 0 or null", tolerance, "null")
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    masses = len(scores) * prior.to(scores.dtype) / prior.sum(dtype=scores.dtype)
    with torch.autocast(scores.device.type, enabled=False):
        scaled = _scaled if 2 / epsilon <= SAFE_EXPONENT else _scaled_logarithms
        return scaled(scores / epsilon, masses[None], iterations, tolerance)


def _scaled(logits: Tensor, masses: Tensor, iterations: int, tolerance: float | None) -> Tensor:
    """By factors of the columns (1, K) and the rows (1, n), updated in place; both products read rows of a matrix.

    The result overwrites the logits.
    """
    kernel = logits.sub_(logits.max()).exp_()
    transposed = kernel.T.contiguous()
    rows = kernel.new_ones(1, len(kernel))
    sums, columns = torch.empty_like(masses), torch.empty_like(masses)
    for update in range(iterations):
        torch.mm(rows, kernel, out=sums)
        if tolerance is not None and _is_due(update) and _deviation(columns * sums, masses) <= tolerance:
            break
        torch.div(masses, sums, out=columns)
        torch.mm(columns, transposed, out=rows).reciprocal_()
    return kernel.mul_(columns).mul_(rows.T)


def _scaled_logarithms(logits: Tensor, masses: Tensor, iterations: int, tolerance: float | None) -> Tensor:
    """The same by logarithms of the factors, whatever their size."""
    log_masses = masses.log()
    rows, columns = logits.new_zeros(len(logits), 1), log_masses
    for update in range(iterations):
        sums = (logits + rows).logsumexp(0, keepdim=True)
        if tolerance is not None and _is_due(update) and _deviation((columns + sums).exp(), masses) <= tolerance:
            break
        columns = log_masses - sums
        rows = -(logits + columns).logsumexp(1, keepdim=True)
    return (logits + columns + rows).exp()


def _is_due(update: int) -> bool:
    return update > 0 and update % CHECK_EVERY == 0


def _deviation(found: Tensor, masses: Tensor) -> float:
    """How far the masses of the columns, after the last scaling of the rows, are from those asked for."""
    return float((found - masses).abs().sum() / masses.sum())

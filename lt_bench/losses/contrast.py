"""What contrastive losses share, with gradients written out: denominators and positives of labelled rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def written_out(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., tuple[Tensor | None, ...]]:
    """A backward pass that has no gradient itself: RuntimeError where one is asked for, with ``create_graph``.

    PyTorch's own ``once_differentiable`` takes such gradients of a loss for zero, as its own gradient is a constant.
    """

    @wraps(backward)
    def once(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("gradients of the gradients of this loss are not written out: leave out create_graph")
        return backward(ctx, *gradients)

    return once


def exponentials(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Overwrite scores (A, n) by exponentials relative to the row's highest, and return their sums and log-sum-exp.

    Every row has a finite score. Shapes of what is returned: (A, 1) and (A, 1).
    """
    highest = scores.amax(1, keepdim=True)
    sums = scores.sub_(highest).exp_().sum(1, keepdim=True)
    return sums, sums.log().add_(highest)


class _LogDenominators(torch.autograd.Function):
    """See ``log_denominators``; one matrix of scores is alive, and the backward pass is its two products."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        contrast: Tensor,
        anchors: int,
        temperature: float,
        bias: Tensor | None,
        logits: Tensor | None,
    ) -> Tensor:
        scores = rows.new_empty(anchors, len(contrast)) if bias is None else bias
        everything = scores if logits is None else torch.cat([logits, scores], 1)
        scores = everything[:, everything.shape[1] - len(contrast) :]
        # a product into a given matrix is never in reduced precision, whatever autocast says
        scores.addmm_(rows[:anchors], contrast.T, beta=0 if bias is None else 1, alpha=1 / temperature)
        scores.fill_diagonal_(-torch.inf)
        sums, found = exponentials(everything)
        ctx.save_for_backward(rows, contrast, everything, sums)
        ctx.temperature = temperature
        return found.squeeze(1)

    @staticmethod
    @written_out
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, contrast, everything, sums = ctx.saved_tensors
        anchors, of_logits = len(everything), everything.shape[1] - len(contrast)
        logits, scores = everything.split([of_logits, len(contrast)], dim=1)
        factors = gradient[:, None] / sums
        for_logits = factors * logits if of_logits else None
        # an anchor's factor goes to the narrow side of the products
        factors = factors / ctx.temperature
        found = torch.mm(scores[:, : len(rows)].T, factors * rows[:anchors], out=torch.empty_like(rows))
        towards = torch.mm(scores, contrast, out=torch.empty_like(rows[:anchors]))
        found[:anchors].addcmul_(towards, factors)
        return found, None, None, None, None, for_logits


def log_denominators(
    rows: Tensor,
    anchors: int,
    temperature: float,
    bias: Tensor | None = None,
    contrast: Tensor | None = None,
    logits: Tensor | None = None,
) -> Tensor:
    """Log-sum-exp of every anchor's scores with all rows but itself, never in reduced precision; one must be finite.

    A score is an inner product over the temperature, plus a ``bias`` (A, n) without gradient, which may be overwritten.
    ``contrast`` (n, D) holds the rows and, after them, others without gradient; by default it is the rows. ``logits``
    (A, C) join the scores.
    Shapes: rows (m, D), the first A = ``anchors`` of which are the anchors; returns (A,).
    """
    contrast = rows if contrast is None else contrast
    found: Tensor = _LogDenominators.apply(rows, contrast.detach(), anchors, temperature, bias, logits)
    return found


class _PositiveSums(torch.autograd.Function):
    """See ``positive_sums``: anchor i has q_i . (S_y(i) - q_i), where S_y adds the rows of a group."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, contrast: Tensor, groups: Tensor, anchors: int, count: int) -> Tensor:
        queries = rows[:anchors]
        sums = rows.new_zeros(count, rows.shape[1]).index_add_(0, groups, contrast)
        own = sums.index_select(0, groups[:anchors])
        ctx.save_for_backward(rows, groups, own)
        ctx.count = count
        return (queries * (own - queries)).sum(1)

    @staticmethod
    @written_out
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, groups, own = ctx.saved_tensors
        anchors, factors = len(own), gradient[:, None]
        weighted = rows[:anchors] * factors
        # every row of a group is pulled by the group's anchors, and an anchor by the others of its group
        pulls = rows.new_zeros(ctx.count, rows.shape[1]).index_add_(0, groups[:anchors], weighted)
        found = pulls.index_select(0, groups[: len(rows)])
        found[:anchors].addcmul_(own, factors).sub_(weighted, alpha=2)
        return found, None, None, None, None


def positive_sums(
    rows: Tensor, labels: Tensor, anchors: int, num_classes: int, contrast: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Per anchor, the sum of its inner products with all other rows of its class, and their number.

    ``contrast`` (n, D) is that of ``log_denominators``. Shapes: rows (m, D), the first ``anchors`` of which are the
    anchors, labels (n,) from 0 to C - 1, or -1 for rows of no class; returns (anchors,) and (anchors,).
    """
    contrast, groups = rows if contrast is None else contrast, labels + 1
    sums: Tensor = _PositiveSums.apply(rows, contrast.detach(), groups, anchors, num_classes + 1)
    counts = rows.new_zeros(num_classes + 1).index_add_(0, groups, rows.new_ones(len(labels)))
    return sums, counts.index_select(0, groups[:anchors]) - 1


def renumbered(groups: Tensor) -> Tensor:
    """Any integers (B,) as numbers below B, the same where they are the same. Nothing is read by the host."""
    return torch.searchsorted(groups.sort().values, groups)


def by_view(features: Tensor) -> Tensor:
    """(B, V, ...) -> (V * B, ...): all images of the first view, then all of the next."""
    return features.transpose(0, 1).flatten(0, 1)

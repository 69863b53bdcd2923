"""Class centres that move with their images, and the points that they are matched with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def matched(centres: Tensor, points: Tensor) -> Tensor:
    """The point of every centre, each used once, so that the sum of cosines is the largest there is.

    Shapes: centres (C, D) and points (C, D) of unit length; returns (C,) int64 on their device. Read by the host.
    Source: Li et al., CVPR 2022 (TSC), with SciPy's solver of the linear assignment problem.  Deviation: none.
    """
    cosines = centres.double() @ points.double().T
    _, found = linear_sum_assignment(-cosines.cpu().numpy())
    return torch.as_tensor(found, dtype=torch.int64, device=centres.device)


def class_means(rows: Tensor, labels: Tensor, others: Tensor) -> Tensor:
    """Mean direction of every class's rows (n, D) by labels (n,); that of ``others`` (C, D) where there are none."""
    means, present = _means(rows, labels, others)
    return torch.where(present, means, others)


def moved_centres(centres: Tensor, rows: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """Centres (C, D) a step further to the mean directions of a batch's rows (n, D); absent classes keep theirs.

    Source: Li et al., CVPR 2022 (TSC), authors' code, whose momentum is 0.9.  Deviation: none.
    """
    means, present = _means(rows, labels, centres)
    return torch.where(present, F.normalize(momentum * centres + (1 - momentum) * means, dim=1), centres)


def _means(rows: Tensor, labels: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean directions (C, D) of classes, in the precision of ``like``, and which have rows at all (C, 1)."""
    sums = torch.zeros_like(like).index_add_(0, labels, rows.to(like.dtype))
    counts = like.new_zeros(len(like)).index_add_(0, labels, like.new_ones(len(labels)))
    return F.normalize(sums, dim=1), counts[:, None] > 0

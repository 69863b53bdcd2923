"""KCL with a queue, and a fixed point on the sphere as one more positive of every query: its class's target."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.losses.kcl_moco import Sampling, positive_sums
from lt_bench.losses.queue import Anchors
from lt_bench.losses.tsc import Targets, balanced


def targeted_in_queue(
    anchors: Anchors,
    labels: Tensor,
    queue_labels: Tensor,
    draws: Tensor,
    temperature: float,
    targets: Targets,
    sampling: Sampling = "distinct",
) -> Tensor:
    """``k_positive`` with targets: all of them are in the denominator, that of the class is a positive.

    Shapes as there, labels of classes; targets have no gradient. Returns a scalar, at least float32.
    Source: Li et al., CVPR 2022 (TSC), authors' code; normaliser "paper" as in the supplement.  Deviation: none.
    """
    sums, counts = positive_sums(anchors.queue, labels, queue_labels, draws, sampling)
    near, pull = of_anchors(anchors, labels, sums, counts, temperature, targets)
    return balanced(near, 1 + counts, pull, targets)


def of_anchors(
    anchors: Anchors, labels: Tensor, sums: Tensor, counts: Tensor, temperature: float, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Every anchor's loss with its own key and positives of a sum (B, D) and number (B,), and that with its target.

    The latter is not weighted yet; shapes (B,) and (B,).
    """
    queries = anchors.queries.to(torch.promote_types(anchors.queries.dtype, torch.float32))
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries @ targets.points.to(queries.dtype).T / temperature
    denominators = anchors.denominators(temperature, scores)
    own = scores.gather(1, targets.of_class[labels, None])[:, 0]
    return denominators - anchors.attraction(sums, counts) / temperature, denominators - own

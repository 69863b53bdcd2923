"""KCL with one more positive for every anchor: a fixed point on the sphere, which is its class's target."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lt_bench.losses.contrast import by_view, log_denominators
from lt_bench.losses.kcl import attractions

Normaliser = Literal["paper", "code"]


class Targets(NamedTuple):
    """Points (C, D) of unit length, the one that each class has (C,), and the weight of the pull to it.

    ``normaliser`` "paper" divides the class part by the number of positives, "code" both parts by one more than that.
    """

    points: Tensor
    of_class: Tensor
    weight: float
    normaliser: Normaliser = "paper"


def targeted(features: Tensor, labels: Tensor, draws: Tensor, temperature: float, targets: Targets) -> Tensor:
    """``k_positives_in_batch`` with targets: all of them are in the denominator, that of the class is a positive.

    Shapes: features (B, 2, D) unit length, labels (B,) of classes, draws (k, 2 B) uniform in [0, 1); targets have no
    gradient. Returns a scalar, at least float32.
    Source: Li et al., CVPR 2022 (TSC), supplement; normaliser "code" as in the authors' code for large images.
    Deviation: none.
    """
    rows = by_view(features.to(torch.promote_types(features.dtype, torch.float32)))
    with torch.autocast(rows.device.type, enabled=False):
        scores = rows @ targets.points.to(rows.dtype).T / temperature
    own = scores.gather(1, targets.of_class[labels].repeat(2)[:, None])[:, 0]
    denominators = log_denominators(rows, len(rows), temperature, logits=scores)
    sums, counts = attractions(rows, labels, draws)
    near, pull = denominators - sums / (temperature * counts), denominators - own
    return balanced(near, counts, pull, targets)


def balanced(near: Tensor, counts: Tensor, pull: Tensor, targets: Targets) -> Tensor:
    """Mean of the losses of class and target, (A,) each, of anchors with as many positives (A,), by the normaliser."""
    if targets.normaliser == "code":
        return ((near * counts + targets.weight * pull) / (1 + counts)).mean()
    return (near + targets.weight * pull).mean()

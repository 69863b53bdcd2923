"""Label-aware smoothing: cross-entropy whose labels are smoothed the more, the more images their class has."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32

Shape = Literal["concave", "linear", "convex", "exp"]
Over = Literal["all", "others"]


def smoothing_of_classes(
    counts: Tensor, head: float, tail: float, shape: Shape = "concave", power: float = 2.0
) -> Tensor:
    """How much the label of every class is smoothed: ``head`` for the largest, ``tail`` for the smallest class.

    Between them it follows the place of a class's images from the least to the most, along a quarter of a sine
    (``concave``, or from below ``convex``), a line, or a ``power`` (``exp``). Classes that are all alike have ``head``.
    Shapes: counts (C,); returns (C,) float64.
    Source: Zhong et al., CVPR 2021 (MiSLAS), section 3.3, authors' code.  Deviation: theirs divides 0 by 0 where all
    classes are alike.
    """
    counts = counts.double()
    spread = counts.max() - counts.min()
    place = torch.where(spread > 0, (counts - counts.min()) / spread.clamp(min=1), torch.ones_like(counts))
    if shape == "convex":
        return head + (head - tail) * torch.sin(math.pi * (1.5 + place / 2))
    risen = {"concave": torch.sin(math.pi * place / 2), "linear": place, "exp": place**power}[shape]
    return tail + (head - tail) * risen


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor, over: Over = "all") -> Tensor:
    """Mean cross-entropy, of which each image gives the smoothing of its class to ``all`` classes or the ``others``.

    Shapes: logits (B, C), labels (B,), smoothing (C,); returns a scalar, at least float32.
    Source: Zhong et al., CVPR 2021 (MiSLAS), eq. (6).  Deviation: none; the authors' code smooths over all classes,
    the paper over the others.
    """
    losses = -F.log_softmax(at_least_float32(logits), dim=1)
    own = losses.gather(1, labels[:, None])[:, 0]
    rest = losses.mean(1) if over == "all" else (losses.sum(1) - own) / (losses.shape[1] - 1)
    return torch.lerp(own, rest, smoothing.to(losses.dtype)[labels]).mean()


class LabelAwareSmoothing(nn.Module):
    """``smoothed_cross_entropy`` with the ``smoothing_of_classes`` of a training set, from which all it holds follows.

    Shapes: counts (C,) images per class; logits (B, C) and labels (B,) give a scalar.
    Raises SettingError for values out of range, under the names that the stage-two rule gives them.
    """

    smoothing: Tensor

    def __init__(
        self, counts: Tensor, head: float, tail: float, shape: Shape = "concave", power: float = 2.0, over: Over = "all"
    ) -> None:
        super().__init__()
        for name, value in (("smooth_head", head), ("smooth_tail", tail)):
            if not 0 <= value <= 1:
                raise SettingError(name, "from 0 (labels as they are) to 1", value, 0)
        for name, word, known in (("shape", shape, get_args(Shape)), ("smoothing_over", over, get_args(Over))):
            if word not in known:
                raise SettingError(name, f"one of {', '.join(known)}", word, known[0])
        if not 0 < power < math.inf:
            raise SettingError("power", "above 0", power, 2)
        self.over = over
        self.register_buffer("smoothing", smoothing_of_classes(counts, head, tail, shape, power), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over images."""
        return smoothed_cross_entropy(logits, labels, self.smoothing, self.over)

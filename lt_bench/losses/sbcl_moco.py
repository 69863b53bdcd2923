"""Subclass-balancing contrastive loss against a queue of past keys (Hou et al., ICCV 2023, large-image form)."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.losses.queue import Anchors, chosen_sums, log_sum


def queue_subclass_balancing(
    anchors: Anchors,
    same_class: Tensor,
    same_subclass: Tensor,
    temperature: float,
    class_temperatures: Tensor,
    beta: float,
    base_temperature: float,
) -> Tensor:
    """Bi-granularity loss: attract the subclass, and more loosely the rest of the class at the class's temperature.

    Positives are always the own key too. The class term leaves the anchor's own subclass out of its softmax.
    Shapes: same_class and same_subclass (B, K) bool, class_temperatures (B,) of the anchors; returns a scalar, at least
    float32.
    Source: Hou et al., ICCV 2023, eq. (4), as in the authors' code for large images, where the class temperature is one
    constant.  Deviation: none.
    """
    own, others = anchors.cosines()
    near = anchors.attraction(*chosen_sums(same_subclass, anchors.queue))
    far = anchors.attraction(*chosen_sums(same_class & ~same_subclass, anchors.queue))
    sharpness = class_temperatures.to(own.dtype).reciprocal()
    far_scores = others * sharpness[:, None]
    # outside the graph: log-sum-exp gives these entries a zero gradient by itself
    far_scores.detach().masked_fill_(same_subclass, -torch.inf)
    near_term = log_sum(own / temperature, others / temperature) - near / temperature
    far_term = log_sum(own * sharpness[:, None], far_scores) - far * sharpness
    return temperature / base_temperature * near_term.mean() + beta * far_term.mean()

"""Subclass-balancing contrastive losses (Hou et al., ICCV 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.losses.supcon import exclude_self, group_sums, similarities


def _two_views(features: Tensor) -> Tensor:
    """Features (B, 2, D) in at least float32; ValueError for any other number of views."""
    if features.ndim != 3 or features.shape[1] != 2:
        raise ValueError(f"expected features (B, 2, D), two views per image, found {tuple(features.shape)}")
    return features.to(torch.promote_types(features.dtype, torch.float32))


def _same_subclass(subclasses: Tensor) -> Tensor:
    """Pairs of embeddings of one subclass, less the pairs of an image's two views; (B,) -> (2B, 2B) bool."""
    images = len(subclasses)
    same = (subclasses[:, None] == subclasses).repeat(2, 2)
    same.diagonal(images).fill_(False)
    same.diagonal(-images).fill_(False)
    return same


def subclass_balancing(
    features: Tensor,
    labels: Tensor,
    subclasses: Tensor,
    temperature: float,
    class_temperatures: Tensor,
    beta: float,
    base_temperature: float,
) -> Tensor:
    """Bi-granularity loss: attract the subclass, and more loosely the class, at the temperature of the anchor's class.

    The class term leaves out the anchor's own subclass, except the image's other view, on both sides of the softmax.
    Shapes: features (B, 2, D) unit length, labels (B,), subclasses (B,) globally unique ids, class_temperatures (C,);
    returns a scalar, at least float32.
    Source: Hou et al., ICCV 2023, eq. (4), with the mean over anchors and the factor temperature / base_temperature on
    the subclass term of the authors' code.  Deviation: temperature is a parameter (their code fixes it to 0.1).
    Raises ValueError unless there are two views.
    """
    features = _two_views(features)
    embeddings = features.transpose(0, 1)
    class_sums, class_counts = group_sums(features, labels)
    subclass_sums, subclass_counts = group_sums(features, subclasses)
    near = (embeddings * (subclass_sums - embeddings)).sum(2) / (2 * subclass_counts - 1)
    others = class_sums - subclass_sums + embeddings.flip(0)
    far = (embeddings * others).sum(2) / (2 * (class_counts - subclass_counts) + 1)

    sharpness = class_temperatures.to(features.dtype)[labels].reciprocal()
    scores = similarities(embeddings.flatten(0, 1), temperature)
    far_scores = scores * (temperature * sharpness).repeat(2)[:, None]
    far_scores.detach().masked_fill_(_same_subclass(subclasses), -torch.inf)  # outside the graph: see exclude_self
    near_term = exclude_self(scores).logsumexp(1).mean() - near.mean() / temperature
    far_term = far_scores.logsumexp(1).mean() - (far * sharpness).mean()
    return temperature / base_temperature * near_term + beta * far_term

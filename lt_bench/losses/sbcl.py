"""Subclass-balancing contrastive losses (Hou et al., ICCV 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lt_bench.losses.contrast import by_view, exclude_self, exponentials, positive_sums, renumbered


def _two_views(features: Tensor) -> Tensor:
    """Features (B, 2, D) in at least float32; ValueError for any other number of views."""
    if features.ndim != 3 or features.shape[1] != 2:
        raise ValueError(f"expected features (B, 2, D), two views per image, found {tuple(features.shape)}")
    return features.to(torch.promote_types(features.dtype, torch.float32))


class _NearAndFar(torch.autograd.Function):
    """Log-sum-exp of every row's scores with all others, and of those that ``left_out`` leaves at sharpness's scale.

    Both are taken of one product, and its gradient is one matrix too. Shapes: rows (2B, D), the second views after the
    first, sharpness (2B, 1), left_out (B, B), zero or minus infinity between two images; returns (2B,) and (2B,).
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, temperature: float, sharpness: Tensor, left_out: Tensor
    ) -> tuple[Tensor, Tensor]:
        count, images = len(rows), len(left_out)
        # a product into a given matrix is never in reduced precision, whatever autocast says
        near = rows.new_empty(count, count).addmm_(rows, rows.T, beta=0, alpha=1 / temperature)
        pairs = (2, images, 2, images)  # what stands for two images stands for every pair of their views
        scales = (temperature * sharpness).view(2, images, 1, 1)
        far = torch.addcmul(left_out[:, None], near.view(pairs), scales).view(count, count)
        (near_sums, near_highest), (far_sums, far_highest) = map(exponentials, map(exclude_self, (near, far)))
        ctx.save_for_backward(rows, near, near_sums * temperature, far, far_sums / sharpness)
        return (near_sums.log() + near_highest).squeeze(1), (far_sums.log() + far_highest).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_near: Tensor, for_far: Tensor) -> tuple[Tensor | None, ...]:
        rows, near, near_divisors, far, far_divisors = ctx.saved_tensors
        products = near * (for_near[:, None] / near_divisors)
        products.addcmul_(far, for_far[:, None] / far_divisors)
        found = torch.mm(products, rows, out=torch.empty_like(rows))
        return found.addmm_(products.T, rows), None, None, None


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
    rows = by_view(_two_views(features))
    images, classes, groups = len(labels), len(class_temperatures), renumbered(subclasses)
    sharpness = class_temperatures.to(rows.dtype).reciprocal().index_select(0, labels).repeat(2)
    in_class, class_counts = positive_sums(rows, labels.repeat(2), 2 * images, classes)
    in_subclass, subclass_counts = positive_sums(rows, groups.repeat(2), 2 * images, images)
    first, second = rows.chunk(2)
    with_partner = (first * second).sum(1).repeat(2)
    near = in_subclass / subclass_counts
    far = (in_class - in_subclass + with_partner) / (class_counts - subclass_counts + 1)

    # an image's own views are not left out by this; each is by itself
    left_out = torch.where(groups[:, None] == groups, -torch.inf, rows.new_zeros(())).fill_diagonal_(0)
    of_near, of_far = _NearAndFar.apply(rows, temperature, sharpness[:, None], left_out)
    near_term = (of_near - near / temperature).mean()
    far_term = (of_far - far * sharpness).mean()
    return temperature / base_temperature * near_term + beta * far_term

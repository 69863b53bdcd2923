"""Subclass-balancing contrastive losses (Hou et al., ICCV 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_bench.losses.contrast import by_view, exponentials, positive_sums, renumbered, written_out


def _two_views(features: Tensor) -> Tensor:
    """Features (B, 2, D) in at least float32; ValueError for any other number of views."""
    if features.ndim != 3 or features.shape[1] != 2:
        raise ValueError(f"expected features (B, 2, D), two views per image, found {tuple(features.shape)}")
    return features.to(torch.promote_types(features.dtype, torch.float32))


class _NearAndFar(torch.autograd.Function):
    """Log-sum-exp of every row's scores with all others, and of those not ``left_out`` at the row's own temperature.

    Both are taken of one product, and its gradient is one matrix too. Shapes: rows (2B, D), the second views after the
    first, temperatures (2, 2B, 1) of both, left_out (B, B), minus infinity or zero; returns (2, 2B).
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, temperature: float, temperatures: Tensor, left_out: Tensor) -> Tensor:
        count, images = len(rows), len(left_out)
        both = rows.new_empty(2, count, count)
        # a product into a given matrix is never in reduced precision, whatever autocast says
        near = both[0].addmm_(rows, rows.T, beta=0, alpha=1 / temperature)
        pairs = (2, images, 2, images)  # what stands for two images stands for every pair of their views
        scales = (temperature / temperatures[1]).view(2, images, 1, 1)
        torch.addcmul(left_out[:, None], near.view(pairs), scales, out=both[1].view(pairs))
        both.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
        sums, found = exponentials(both.view(2 * count, count))
        ctx.save_for_backward(rows, both, sums.view(2, count, 1) * temperatures)
        return found.view(2, count)

    @staticmethod
    @written_out
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, both, divisors = ctx.saved_tensors
        near, far = both.unbind()
        for_near, for_far = (gradient[..., None] / divisors).unbind()
        products = (near * for_near).addcmul_(far, for_far)
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
    of_class, class_counts = positive_sums(rows, labels.repeat(2), 2 * images, classes)
    of_subclass, subclass_counts = positive_sums(rows, groups.repeat(2), 2 * images, images)
    first, second = rows.chunk(2)
    of_partner = (first * second).sum(1).repeat(2)
    near = of_subclass / subclass_counts
    far = (of_class - of_subclass + of_partner) / (class_counts - subclass_counts + 1)

    far_temperatures = class_temperatures.to(rows.dtype).index_select(0, labels).repeat(2)
    temperatures = torch.stack([torch.full_like(far_temperatures, temperature), far_temperatures])
    # an image's own views stay: each is without itself anyway
    left_out = rows.new_zeros(images, images).masked_fill_(groups[:, None] == groups, -torch.inf).fill_diagonal_(0)
    denominators = _NearAndFar.apply(rows, temperature, temperatures[..., None], left_out)
    near_term, far_term = (denominators - torch.stack([near, far]) / temperatures).mean(1).unbind()
    return temperature / base_temperature * near_term + beta * far_term

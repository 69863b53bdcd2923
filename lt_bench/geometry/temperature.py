"""Temperatures that follow the concentration of a class."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.errors import SettingError


def class_concentration(
    embeddings: Tensor, labels: Tensor, num_classes: int, alpha: float, epsilon: float = 0.0
) -> Tensor:
    """Mean distance of a class's embeddings to their mean, over log(count + alpha); small for a dense class.

    ``epsilon`` is added to every coordinate of a difference (the authors' code: 1e-6). A class without images has NaN.
    Shapes: embeddings (N, d) unit length, labels (N,); returns (C,) float64.
    Source: Hou et al., ICCV 2023, eq. (5).  Deviation: none.
    """
    rows = embeddings.detach().double()
    counts = rows.new_zeros(num_classes).index_add_(0, labels, rows.new_ones(len(rows)))
    means = rows.new_zeros(num_classes, rows.shape[1]).index_add_(0, labels, rows) / counts[:, None]
    distances = torch.linalg.vector_norm(rows - means[labels] + epsilon, dim=1)
    totals = rows.new_zeros(num_classes).index_add_(0, labels, distances)
    return totals / counts / torch.log(counts + alpha)


def class_temperatures(concentration: Tensor, clusters_per_class: Tensor, temperature: float, law: str) -> Tensor:
    """A temperature per class; one with a single subclass, or without images (NaN), keeps ``temperature``.

    "exponential": temperature * exp(phi / mean phi). "linear_clipped": phi is first clipped to its 20th and 80th
    percentile over the classes, then temperature * phi / mean phi.
    Shapes: concentration phi (C,), clusters_per_class (C,); returns (C,) in the concentration's dtype.
    Source: Hou et al., ICCV 2023, eq. (6) ("exponential"); the authors' code ("linear_clipped").  Deviation: where
    every class is a single point, phi / mean phi is 1.
    Raises SettingError for an unknown law.
    """
    if law not in ("linear_clipped", "exponential"):
        raise SettingError("law", "linear_clipped or exponential", law, "linear_clipped")
    if law == "linear_clipped":
        low, high = concentration.nanquantile(concentration.new_tensor([0.2, 0.8])).unbind()
        concentration = concentration.clamp(low, high)
    mean = concentration.nanmean()
    relative = torch.where(mean > 0, concentration / mean, 1.0)
    scaled = temperature * (relative.exp() if law == "exponential" else relative)
    return torch.where((clusters_per_class > 1) & ~concentration.isnan(), scaled, temperature)

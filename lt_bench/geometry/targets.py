"""The energy of directions, and the search for directions of low energy in TSC's authors' code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE, RATE, STEPS = 0.07, 1e-3, 10_000  # authors' code


def energy(points: Tensor, temperature: float = TEMPERATURE, itself: bool = True) -> Tensor:
    """Mean log-sum-exp of every direction's cosines over the temperature, with ``itself`` also that with itself.

    Shapes: points (C, D) of any length; returns a scalar.
    Source: Li et al., CVPR 2022 (TSC), authors' code, which has the direction itself.  Deviation: none.
    """
    directions = F.normalize(points, dim=1)
    scores = directions @ directions.T / temperature
    if not itself:
        scores = scores.masked_fill(torch.eye(len(points), dtype=torch.bool, device=points.device), -torch.inf)
    return scores.logsumexp(1).mean()


def searched(
    count: int, dim: int, start: Tensor | None = None, steps: int = STEPS, temperature: float = TEMPERATURE
) -> Tensor:
    """The directions (count, dim) of the lowest energy that Adam comes by in so many steps.

    It begins at ``start`` (count, dim), or at a normal draw, and works in that type.
    Source: Li et al., CVPR 2022 (TSC), authors' code.  Deviation: none.
    """
    points = (torch.randn(count, dim) if start is None else start.clone()).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=RATE)
    best, found = torch.full((), torch.inf, dtype=points.dtype), points.detach()
    with torch.enable_grad():
        for _ in range(steps):
            loss = energy(points, temperature)
            lower = loss.detach() < best
            best, found = torch.where(lower, loss.detach(), best), torch.where(lower, points.detach(), found)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return F.normalize(found, dim=1)

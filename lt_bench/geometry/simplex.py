"""Directions that are as far apart as they can be."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.errors import SettingError

SHARPNESS = 4.0  # of the uniformity energy (Wang and Isola, ICML 2020: exp(-2 |x - y|^2))
ROUNDS, STEPS_PER_ROUND = 20, 50


def simplex(gaussian: Tensor) -> Tensor:
    """Unit vectors with pairwise cosines -1 / (K - 1): a regular simplex, turned by a normal draw.

    Shapes: gaussian (K, D), 2 <= K <= D + 1; returns (K, D) of its type. Only the first K - 1 rows of the draw count.
    Source: GH (Zhou et al., NeurIPS 2023), geometric uniform structure.  Deviation: the authors' code is the function
    ``official_simplex``; the two differ by a rotation, and at K = D + 1.
    Raises SettingError for more directions than D + 1, or fewer than 2.
    """
    count, dim = _checked(gaussian)
    # an orthonormal basis of what is orthogonal to the all-ones vector
    basis = torch.linalg.qr(_centering(count).to(gaussian)[:, : count - 1]).Q
    return math.sqrt(count / (count - 1)) * basis @ _polar(gaussian[: count - 1])


def official_simplex(gaussian: Tensor) -> Tensor:
    """The directions of the authors' code: a simplex for 2 <= K <= D; for K = D + 1 they differ in length and angle.

    Shapes: gaussian (K, D); returns (K, D) of its type.
    Source: GH (Zhou et al., NeurIPS 2023), authors' code.  Deviation: none.
    Raises SettingError for more directions than D + 1, or fewer than 2.
    """
    count, _ = _checked(gaussian)
    return math.sqrt(count / (count - 1)) * _centering(count).to(gaussian) @ _polar(gaussian)


@cache
def spread(count: int, dim: int) -> Tensor:
    """Unit vectors (count, dim) in double precision, a local minimum of the uniformity energy from a fixed start.

    The energy is the log-sum-exp of all pairwise cosines times 4. For more than dim + 1 directions, where there is no
    simplex; the same tensor at every call, not to be written to.
    Source: Wang and Isola, ICML 2020, on GH's (Zhou et al., NeurIPS 2023) "approximate targets", of which the authors'
    code has only the name.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    points = torch.randn(count, dim, generator=generator, dtype=torch.float64, device="cpu").requires_grad_()
    optimizer = torch.optim.LBFGS([points], max_iter=STEPS_PER_ROUND, history_size=20, line_search_fn="strong_wolfe")

    def energy() -> Tensor:
        optimizer.zero_grad()
        directions = F.normalize(points, dim=1)
        cosines = directions @ directions.T
        cosines.detach().fill_diagonal_(-torch.inf)
        value = (SHARPNESS * cosines).flatten().logsumexp(0)
        value.backward()
        return value

    with torch.enable_grad():
        for _ in range(ROUNDS):
            optimizer.step(energy)
    return F.normalize(points.detach(), dim=1)


def far_apart(count: int, dim: int) -> Tensor:
    """Unit vectors (count, dim) in double precision: a random simplex where there is one, otherwise ``spread``."""
    return spread(count, dim) if count > dim + 1 else simplex(torch.randn(count, dim, dtype=torch.float64))


def _checked(gaussian: Tensor) -> tuple[int, int]:
    count, dim = gaussian.shape
    if not 2 <= count <= dim + 1:
        raise SettingError("count", f"from 2 to {dim + 1}, the directions of a simplex in {dim} dimensions", count, dim)
    return count, dim


def _centering(count: int) -> Tensor:
    """What takes the mean away from vectors of a length."""
    return torch.eye(count, dtype=torch.float64) - 1 / count


def _polar(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows (or columns)."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right

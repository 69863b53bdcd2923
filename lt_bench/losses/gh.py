"""Geometric harmonization (Zhou et al., NeurIPS 2023): swapped prediction of surrogate labels on fixed directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def direction_scores(embeddings: Tensor, directions: Tensor) -> Tensor:
    """Inner products of embeddings with all directions, scaled to unit length for every embedding.

    They are no cosines: the length is that of the K scores. Shapes: embeddings (n, D), directions (K, D); returns
    (n, K), at least float32.
    Source: Zhou et al., NeurIPS 2023, authors' code.  Deviation: none.
    """
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    with torch.autocast(embeddings.device.type, enabled=False):
        return F.normalize(embeddings.to(dtype) @ directions.to(dtype).T, dim=1)


def geometric_harmonization(
    first: Tensor, second: Tensor, first_assignment: Tensor, second_assignment: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy of each view's scores with the other view's assignment; the two are added, not averaged.

    Shapes: scores and assignments of the two views (n, K); returns a scalar.
    Source: Zhou et al., NeurIPS 2023, as in the authors' code.  Deviation: none.
    """
    of_second = _cross_entropy(second, first_assignment, temperature)
    return of_second + _cross_entropy(first, second_assignment, temperature)


def _cross_entropy(scores: Tensor, assignment: Tensor, temperature: float) -> Tensor:
    """Mean over images; ``F.cross_entropy`` would keep a matrix of scores over the temperature alive meanwhile."""
    log_probabilities = F.log_softmax(scores / temperature, dim=1)
    return -(assignment * log_probabilities).sum(1).mean()

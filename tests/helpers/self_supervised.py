"""What the tests of the self-supervised methods share: their golden vectors, and tolerances as these state them."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Every number within tolerance * (1 + the largest expected one)."""
    limit = tolerance * (1 + float(expected.abs().max()))
    torch.testing.assert_close(found.detach().double(), expected.double(), rtol=0, atol=limit)


def golden_views(case: dict[str, Tensor], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Embeddings (B, D) of the two views, ready for gradients; a case without a second array has them interleaved."""
    x = case["x"].to(dtype)
    first, second = (x, case["features2"].to(dtype)) if "features2" in case else (x[0::2], x[1::2])
    return first.clone().requires_grad_(), second.clone().requires_grad_()


def golden_gradients(case: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The gradients (B, D) of the two views' embeddings."""
    gradient = case["grad_x"]
    return (gradient, case["grad_features2"]) if "grad_features2" in case else (gradient[0::2], gradient[1::2])


def random_views(images: int, dim: int = 6) -> tuple[Tensor, Tensor]:
    """Two views' embeddings (images, dim) in double precision."""
    generator = torch.Generator().manual_seed(images)
    first, second = torch.randn(2, images, dim, generator=generator, dtype=torch.float64)
    return first, second

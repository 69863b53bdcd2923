"""Networks with experts whose weights are those of the golden files, and what they are compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helpers.fingerprints import fill_hashed
from lt_bench.models.experts import ExpertEncoder, ExpertHeads

EXPERT_OFFSET = 1000003
ARRAY = {"rtol": 1e-5, "atol": 2e-6}


def fill(encoder: nn.Module, heads: nn.Module) -> None:
    """Double precision, what is shared from offset 0 on, and what an expert has from an offset of its own."""
    assert isinstance(encoder, ExpertEncoder) and isinstance(heads, ExpertHeads)
    fill_hashed(encoder.trunk)
    for number, (tail, head) in enumerate(zip(encoder.tails, heads.heads, strict=True)):
        fill_hashed(tail, EXPERT_OFFSET * (1 + number))
        fill_hashed(head, EXPERT_OFFSET * (1 + number))


def fresh_statistics(network: nn.Module) -> None:
    """Running statistics as before the first step."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()


def by_expert(features: Tensor, experts: int) -> Tensor:
    """Features (B, K D) as the golden files have them, (K, B, D)."""
    return torch.stack(features.chunk(experts, dim=1))

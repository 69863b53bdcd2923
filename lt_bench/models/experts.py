"""Experts: a trunk, several copies of the last stages that see the same maps, and a head on each of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.heads import ProjectionHead
from lt_bench.models.maps import spatial_maps
from lt_bench.models.named import MEAN, expert_name
from lt_bench.models.stages import narrow, stages_of, start_anew


class ExpertEncoder(nn.Module):
    """``encoder`` up to its first ``shared_stages``, and ``experts`` tails: (B, 3, H, W) -> (B, K D), expert by expert.

    None shares the first half of the stages, 0 nothing: the tails are whole networks. Tails have ``width`` times the
    channels. Each starts from weights of its own, as the encoder would, or with ``copied`` from those that it has.
    The encoder is taken apart.
    Source: Wang et al., ICLR 2021 (RIDE), authors' code.  Deviation: pooled over all pixels, theirs over 7 x 7; a
    channel of a tail sees those of its own expert alone.
    Raises SettingError for what this encoder cannot have.
    """

    def __init__(
        self,
        encoder: nn.Module,
        experts: int = 3,
        shared_stages: int | None = None,
        width: float = 1.0,
        copied: bool = False,
    ) -> None:
        super().__init__()
        stages = stages_of(encoder)
        shared = len(stages) // 2 if shared_stages is None else shared_stages
        self._check(type(encoder).__name__, len(stages), shared, experts, width, copied)
        self.given = {"experts": experts, "shared_stages": shared, "width": width, "copied": copied}
        tail = nn.Sequential(*(stage.taken() for stage in stages[shared:])) if shared else encoder
        if width != 1:
            narrow(tail, width)
        self.trunk = encoder if shared else nn.Identity()
        self.tails = nn.ModuleList([tail, *(copy.deepcopy(tail) for _ in range(experts - 1))])
        for one in () if copied else self.tails:
            start_anew(one, encoder)
        self.feature_dim: int = experts * int(encoder.feature_dim * width)  # type: ignore[operator]

    def _check(self, name: str, stages: int, shared: int, experts: int, width: float, copied: bool) -> None:
        if not stages:
            raise SettingError("encoder", "null for a network without stages, which residual ones have", name, "null")
        if experts < 1:
            raise SettingError("experts", "1 or more", experts, 3)
        if not 0 <= shared < stages:
            raise SettingError("shared_stages", f"from 0 to {stages - 1} of the {stages} stages", shared, stages // 2)
        if width <= 0:
            raise SettingError("width", "above 0", width, 1)
        if width != 1 and (copied or not shared):
            why = "copied weights" if copied else "whole networks"
            raise SettingError("width", f"1 with {why}", width, 1)

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        network = self.trunk if self.given["shared_stages"] else self.tails[0]
        return {"_target_": "lt_bench.models.experts.ExpertEncoder", "encoder": network, **self.given}

    def maps(self, images: Tensor) -> Tensor:
        """The maps (B, K D, H', W') of all experts before their pool."""
        return torch.cat(self._tail_maps(images), dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, K D), not normalised."""
        # one after the other: a convolution with a group for each expert takes longer on a CPU (bench_experts.py)
        return torch.cat([maps.mean(dim=(2, 3)) for maps in self._tail_maps(images)], dim=1)

    def _tail_maps(self, images: Tensor) -> list[Tensor]:
        if isinstance(self.trunk, nn.Identity):
            return [spatial_maps(tail, images) for tail in self.tails]
        shared = spatial_maps(self.trunk, images)
        return [tail(shared) for tail in self.tails]


def by_head(heads: nn.ModuleList, features: Tensor) -> Tensor:
    """What the head of every expert makes of its features: (B, K D) -> (B, K, outputs)."""
    parts = features.chunk(len(heads), dim=1)
    return torch.stack([head(part) for head, part in zip(heads, parts, strict=True)], dim=1)


class ExpertProjections(nn.Module):
    """A projection head on the features of every expert: (B, K D) -> unit embeddings (B, K, d), expert by expert."""

    def __init__(self, heads: Sequence[ProjectionHead]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """The embeddings of every expert."""
        return by_head(self.heads, features)


class ExpertHeads(nn.Module):
    """A head on the features of every expert: (B, K D) -> the mean of their logits, (B, C), or that under ``weights``.

    Weights (K,) sum to 1; None: all are alike.
    """

    weights: Tensor | None

    def __init__(self, head: nn.Module, experts: int, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.heads = nn.ModuleList([head, *(copy.deepcopy(head) for _ in range(experts - 1))])
        given = None if weights is None else torch.tensor([*weights])
        self.register_buffer("weights", given, persistent=False)

    @classmethod
    def of(cls, heads: Sequence[nn.Module], weights: Sequence[float] | None = None) -> ExpertHeads:
        """These heads, which are alike but for their weights."""
        made = cls(heads[0], 1, weights)
        made.heads = nn.ModuleList(heads)
        return made

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        head, count = self.heads[0], len(self.heads)
        given = {} if self.weights is None else {"weights": self.weights.tolist()}
        return {"_target_": "lt_bench.models.experts.ExpertHeads", "head": head, "experts": count, **given}

    def expert_logits(self, features: Tensor) -> Tensor:
        """The logits of every expert, (B, K, C)."""
        return by_head(self.heads, features)

    def named_logits(self, features: Tensor) -> dict[str, Tensor]:
        """Logits (B, C) to store beside what is evaluated: expert0, expert1, ..., and under weights their mean."""
        logits = self.expert_logits(features)
        named = {expert_name(number): one for number, one in enumerate(logits.unbind(1))}
        return named if self.weights is None else named | {MEAN: logits.mean(1)}

    def forward(self, features: Tensor) -> Tensor:
        """The mean of the logits of all experts, or their sum under weights."""
        logits = self.expert_logits(features)
        if self.weights is None:
            return logits.mean(1)
        return (logits * self.weights.to(logits)[:, None]).sum(1)

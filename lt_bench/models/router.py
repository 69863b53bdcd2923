"""Experts that are asked one after the other, and what decides after each whether an image needs the next one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.experts import ExpertEncoder, ExpertHeads
from lt_bench.models.maps import spatial_maps
from lt_bench.models.named import MEAN
from lt_bench.models.pool import InputPool


def running_means(logits: Tensor) -> Tensor:
    """The mean of the logits of the first expert, of the first two, ..., of all: (B, K, C) -> (B, K, C)."""
    counts = torch.arange(1, logits.shape[1] + 1, device=logits.device, dtype=logits.dtype)
    return logits.cumsum(1) / counts[:, None]


class RoutedExperts(nn.Module):
    """Features (B, K D) -> the mean of the logits of the experts that an image takes, (B, C).

    After an expert the ``top`` largest of the mean logits so far and 16 values made of its features, of unit length,
    give a score; an image takes the next expert while the score is above 0. All features are given, so what a network
    saves that stops is counted and not saved here.
    Source: Wang et al., ICLR 2021 (RIDE), authors' code.  Deviation: features that are all 0 stay so; at most as many
    logits as there are classes. Raises SettingError for a single expert, which nothing follows.
    """

    def __init__(self, experts: ExpertHeads, features: int, num_classes: int, top: int = 30, hidden: int = 16) -> None:
        super().__init__()
        count = len(experts.heads)
        if count < 2:
            raise SettingError("experts", "2 or more", count, 3)
        self.experts, self.given = experts, {"features": features, "num_classes": num_classes, "top": top}
        self.top, bound = min(top, num_classes), features**-0.5  # as nn.Linear starts
        self.weight = nn.Parameter(torch.empty(count - 1, hidden, features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count - 1, hidden).uniform_(-bound, bound))
        self.score = nn.Linear(self.top + hidden, 1)

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        hidden = self.bias.shape[1]
        return {
            "_target_": "lt_bench.models.router.RoutedExperts",
            "experts": self.experts,
            **self.given,
            "hidden": hidden,
        }

    def scores(self, features: Tensor, logits: Tensor) -> Tensor:
        """How much an image needs another expert after each but the last: features, logits (B, K, C) -> (B, K - 1)."""
        parts = F.normalize(features.unflatten(1, (len(self.experts.heads), -1))[:, :-1], dim=2)
        hidden = (torch.einsum("bkd,khd->bkh", parts, self.weight) + self.bias).relu()
        largest = running_means(logits)[:, :-1].topk(self.top, dim=2).values
        found: Tensor = self.score(torch.cat([largest, hidden], dim=2)).squeeze(2)
        return found

    def used(self, scores: Tensor) -> Tensor:
        """How many experts each image takes, (B, K - 1) -> (B,) from 1 to K."""
        return 1 + (scores > 0).cumprod(1).sum(1)

    def routed(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (B, C) of the experts that images take, and how many those are, (B,)."""
        logits = self.experts.expert_logits(features)
        used = self.used(self.scores(features, logits))
        place = (used - 1)[:, None, None].expand(-1, 1, logits.shape[2])
        return running_means(logits).gather(1, place).squeeze(1), used

    def named_logits(self, features: Tensor) -> dict[str, Tensor]:
        """Logits (B, C) to store beside: those of each expert, and their mean."""
        return self.experts.named_logits(features) | {MEAN: self.experts(features)}

    def forward(self, features: Tensor) -> Tensor:
        """The logits of the experts that images take."""
        return self.routed(features)[0]


def flops_by_experts(encoder: nn.Module, classifier: RoutedExperts, image: Tensor) -> list[int]:
    """Floating-point operations for an image (1, 3, S, S) that takes 1, 2, ..., K experts, as PyTorch counts them.

    Those of convolutions and matrix products, two for a multiplication with an addition.
    """
    if isinstance(encoder, InputPool):
        image = F.avg_pool2d(image, encoder.k)
        encoder = encoder.encoder
    assert isinstance(encoder, ExpertEncoder)
    count, features = len(encoder.tails), encoder(image)
    trunk = 0 if isinstance(encoder.trunk, nn.Identity) else _flops(partial(spatial_maps, encoder.trunk), image)
    heads = _flops(classifier.experts, features)
    one = (_flops(encoder, image) - trunk + heads) // count
    deciding = _flops(classifier.scores, features, classifier.experts.expert_logits(features)) // (count - 1)
    return [trunk + used * one + min(used, count - 1) * deciding for used in range(1, count + 1)]


def _flops(function: Callable[..., Any], *inputs: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # imports much of PyTorch that nothing else here needs

    with FlopCounterMode(display=False) as counted:
        function(*inputs)
    return int(counted.get_total_flops())

"""Geometric harmonization (GH): a component that any self-supervised method takes."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError, renamed
from lt_bench.geometry.simplex import far_apart, official_simplex
from lt_bench.geometry.sinkhorn import sinkhorn
from lt_bench.losses.gh import direction_scores, geometric_harmonization

Construction = Literal["simplex", "official"]
PriorRefresh = Literal["epoch", "step"]


@dataclass(frozen=True)
class HarmonizationSettings:
    """Zhou et al., NeurIPS 2023: the values of the authors' CIFAR code. Epochs are counted from 1.

    The loss is on after ``warm_epochs`` and grows over ``ramp_epochs`` to ``weight``. The score memory starts in epoch
    ``memory_start`` and keeps ``momentum`` of its values, ``late_momentum`` after the warm-up. The prior is renewed
    from it at the end of the warm-up and of every later epoch that ``prior_interval`` divides, or after every step of
    those epochs; ``prior_floor`` is added to the count of every direction. ``ramp_lead`` and ``prior_lead`` are epochs
    by which the authors' code is ahead of that in places.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs",)

    warm_epochs: int = 500
    ramp_epochs: int = 10
    weight: float = 1.0
    target_dim: int = 100
    construction: Construction = "simplex"
    temperature: float = 0.1
    epsilon: float = 0.05
    sinkhorn_iterations: int = 300
    sinkhorn_tolerance: float | None = None
    momentum: float = 0.9
    late_momentum: float = 0.999
    memory_start: int = 1
    prior_interval: int = 20
    prior_refresh: PriorRefresh = "epoch"
    prior_floor: float = 0.0
    ramp_lead: int = 0
    prior_lead: int = 0

    def __post_init__(self) -> None:
        for name in ("warm_epochs", "ramp_epochs", "sinkhorn_iterations", "memory_start", "prior_interval"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("target_dim", self.target_dim >= 2, "at least 2")
        for name in ("temperature", "epsilon"):
            self._require(name, 0 < getattr(self, name) < math.inf, "positive and finite")
        for name in ("momentum", "late_momentum"):
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("weight", "prior_floor", "ramp_lead", "prior_lead"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "finite, 0 or more")
        tolerance = self.sinkhorn_tolerance
        self._require("sinkhorn_tolerance", tolerance is None or tolerance > 0, "positive or null")
        for name, words in (("construction", ("simplex", "official")), ("prior_refresh", ("epoch", "step"))):
            self._require(name, getattr(self, name) in words, " or ".join(words))
        if self.memory_start > self.warm_epochs:
            rule = f"at most {self.warm_epochs}, the end of the warm-up, when the prior is read from the memory"
            raise SettingError("memory_start", rule, self.memory_start, 1)

    def _require(self, name: str, holds: bool, words: str) -> None:
        if not holds:
            default = type(self).__dataclass_fields__[name].default
            usual = "null" if default is None else f"{default:g}" if isinstance(default, (int, float)) else default
            raise SettingError(name, words, getattr(self, name), usual)


class Harmonization(nn.Module):
    """Fixed directions (K, D), a memory of every training image's scores (N, K), and the prior (K,) read from it.

    Raises SettingError where the official construction is asked for more directions than D + 1.
    """

    directions: Tensor
    memory: Tensor
    prior: Tensor

    def __init__(self, settings: HarmonizationSettings, images: int, dim: int) -> None:
        super().__init__()
        self.settings = settings
        count = settings.target_dim
        with renamed(count="target_dim"):
            self.register_buffer("directions", _directions(count, dim, settings.construction).float())
        self.register_buffer("memory", torch.zeros(images, count))
        self.register_buffer("prior", torch.full((count,), 1 / count))

    def weight(self, epoch: int) -> float:
        """What the loss is multiplied with in an epoch counted from 0."""
        settings = self.settings
        into = epoch + 1 - settings.warm_epochs
        return settings.weight * min(1.0, (into + settings.ramp_lead) / settings.ramp_epochs) if into > 0 else 0.0

    def momentum(self, epoch: int) -> float:
        """What the memory keeps of its values in an epoch counted from 0."""
        return self.settings.momentum if epoch < self.settings.warm_epochs else self.settings.late_momentum

    def renews_prior(self, epoch: int) -> bool:
        """Whether the prior is renewed at the end of an epoch counted from 0."""
        number, settings = epoch + 1 + self.settings.prior_lead, self.settings
        return number == settings.warm_epochs or (
            number > settings.warm_epochs and number % settings.prior_interval == 0
        )

    def phase(self, epoch: int) -> Hashable:
        """What a step depends on in an epoch counted from 0; nothing where it looks at the tolerance on the host."""
        settings, number = self.settings, epoch + 1
        active = epoch >= settings.warm_epochs
        if active and settings.sinkhorn_tolerance is not None:
            return None
        renews = settings.prior_refresh == "step" and self.renews_prior(epoch)
        return active, self.weight(epoch), self.momentum(epoch), number >= settings.memory_start, renews

    def on_epoch_start(self, epoch: int) -> None:
        """Renew the prior where that is due at the end of the epoch before."""
        if epoch > 0 and self.renews_prior(epoch - 1):
            self.renew_prior()

    def renew_prior(self) -> None:
        """The share of images whose largest score is each direction's, with the floor; unseen images do not count."""
        seen = self.memory.any(1).to(self.prior.dtype)
        counts = torch.full_like(self.prior, self.settings.prior_floor).index_add_(0, self.memory.argmax(1), seen)
        total = counts.sum()
        self.prior.copy_(torch.where(total > 0, counts / total, 1 / len(counts)))

    @torch.no_grad()
    def remember(self, scores: Tensor, indices: Tensor, epoch: int) -> None:
        """Scores (B, K) enter the memory of their images, indices (B,), in an epoch counted from 0.

        An image's first scores are taken as they are.  Deviation: the authors' code does so in the memory's first epoch
        alone, and mixes those of an image that this epoch left out with zeros.
        """
        if epoch + 1 < self.settings.memory_start:
            return
        known = self.memory.index_select(0, indices)
        kept = (known.abs().amax(1, keepdim=True) > 0).to(known.dtype) * self.momentum(epoch)
        self.memory.index_copy_(0, indices, torch.lerp(scores.to(known.dtype), known, kept, out=known))

    def forward(self, first: Tensor, second: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """The loss of two views' embeddings (B, D) of images with indices (B,), not weighted; 0 during the warm-up.

        Then the first view's scores enter the memory. All ranks' rows are wanted, so that all keep the same memory.
        """
        settings = self.settings
        active = epoch >= settings.warm_epochs
        with torch.set_grad_enabled(active and torch.is_grad_enabled()):
            first_scores = direction_scores(first, self.directions)
            loss = self._loss(first_scores, second) if active else first_scores.new_zeros(())
        self.remember(first_scores.detach(), indices, epoch)
        if settings.prior_refresh == "step" and self.renews_prior(epoch):
            self.renew_prior()
        return loss

    def _loss(self, first_scores: Tensor, second: Tensor) -> Tensor:
        second_scores = direction_scores(second, self.directions)
        return geometric_harmonization(
            first_scores,
            second_scores,
            self._assignment(first_scores),
            self._assignment(second_scores),
            self.settings.temperature,
        )

    def _assignment(self, scores: Tensor) -> Tensor:
        settings = self.settings
        return sinkhorn(
            scores.detach(), self.prior, settings.epsilon, settings.sinkhorn_iterations, settings.sinkhorn_tolerance
        )


def _directions(count: int, dim: int, construction: Construction) -> Tensor:
    """Directions as far apart as they can be, or those of the authors' code."""
    if construction == "simplex":
        return far_apart(count, dim)
    return official_simplex(torch.randn(count, dim, dtype=torch.float64))

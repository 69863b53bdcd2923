"""Experts: a component of supervised methods whose network has several last stages and heads."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lt_bench.errors import renamed
from lt_bench.models.experts import ExpertEncoder
from lt_bench.models.pool import InputPool


@dataclass(frozen=True)
class Experts:
    """So many experts, see ``ExpertEncoder``; what is evaluated is the mean of their logits.

    ``shared_stages`` of the network are common to all (None: half of them), the others have ``width`` times their
    channels; ``copied``: each starts from the encoder's own weights, as pretrained ones need it.
    """

    count: int = 3
    shared_stages: int | None = None
    width: float = 1.0
    copied: bool = False

    def applied(self, encoder: nn.Module) -> nn.Module:
        """The encoder with several tails, behind the pooling of its input; SettingError under ``experts.NAME``."""
        if isinstance(encoder, InputPool):
            return InputPool(encoder.k, self.applied(encoder.encoder))
        own = {name: f"experts.{name}" for name in ("shared_stages", "width")}
        with renamed(encoder="experts", experts="experts.count", **own):
            return ExpertEncoder(encoder, self.count, self.shared_stages, self.width, self.copied)

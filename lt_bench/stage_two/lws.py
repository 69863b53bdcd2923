"""LWS: one learnable scale per class on the frozen linear classifier of stage one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Method, StageTwo, TrainInfo
from lt_bench.stage_two.frozen import CrossEntropyOnFrozen
from lt_bench.stage_two.linear import linear_of_stage_one


class ScaledLinear(nn.Module):
    """The logits of a linear layer, bias included, times a learnable ``scales`` (C,) that begins at 1.

    Source: Kang et al., ICLR 2020, section 4 (LWS), authors' code.  Deviation: none.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.scales = nn.Parameter(torch.ones_like(linear.weight[:, 0]))

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        return {"_target_": "lt_bench.stage_two.lws.ScaledLinear", "linear": self.linear}

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, D) -> logits (B, C)."""
        logits: Tensor = self.scales * self.linear(features)
        return logits


@dataclass
class LearnableWeightScaling(StageTwo):
    """Learnable weight scaling (Kang et al., ICLR 2020, section 4): cross-entropy; the sampler does the balancing.

    Deviation from the authors' code: the encoder stays in eval mode, so its batch-norm averages do not drift.
    """

    augment: bool = True
    uses_classifier: ClassVar[bool] = True
    needs_linear_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """Stage one's classifier with scales of 1; raises UsageError where it is not linear."""
        frozen = linear_of_stage_one(classifier, "lws").requires_grad_(False)
        return CrossEntropyOnFrozen(encoder, ScaledLinear(frozen), self.augment)

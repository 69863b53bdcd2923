"""τ-normalisation: the weights of stage one's linear classifier, divided by a power of their norms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from lt_bench.contracts import Method, StageTwo, TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.stage_two.linear import linear_of_stage_one
from lt_bench.stage_two.none import KeepClassifier


@dataclass
class TauNormalized(StageTwo):
    """τ-normalised classifier (Kang et al., ICLR 2020, section 4): w_j / |w_j|^tau, without bias; nothing is trained.

    ``tau`` 0 keeps the weights, 1 makes them unit vectors. It is to be chosen on a validation part, never on the test
    set: the authors scan 0, 0.1, ..., 2; here it is the sweep ``-m stage_two.tau=0,0.1,...`` with
    ``dataset.validation_per_class=20 evaluation.split=validation``.  Raises SettingError for a negative ``tau``.
    """

    tau: float = 1.0
    uses_classifier: ClassVar[bool] = True
    needs_linear_classifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.tau < math.inf:
            raise SettingError("tau", "a number from 0, usually to 2", self.tau, 1)

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """Encoder and classifier of stage one; raises UsageError where the classifier is not linear."""
        return KeepClassifier().build(encoder, linear_of_stage_one(classifier, "tau_norm"), info)

    @torch.no_grad()
    def finish(self, method: Method, context: TrainContext) -> nn.Module:
        """A linear classifier with the normalised weights; a weight vector of zeros stays one."""
        weight = linear_of_stage_one(method.classifier, "tau_norm").weight
        linear = nn.Linear(weight.shape[1], len(weight), bias=False, device=weight.device, dtype=weight.dtype)
        linear.weight.copy_(weight / weight.norm(dim=1, keepdim=True).clamp_min(1e-12) ** self.tau)
        return linear

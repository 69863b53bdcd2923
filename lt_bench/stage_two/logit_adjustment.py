"""Post-hoc logit adjustment: the log prior taken from the logits of stage one's classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Method, StageTwo, TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.stage_two.linear import linear_of_stage_one
from lt_bench.stage_two.none import KeepClassifier


class _Adjusted(Method):
    """Stage one's method with the prior that its classifier learned."""

    log_prior: Tensor

    def __init__(self, kept: Method, counts: Tensor) -> None:
        super().__init__()
        self.encoder, self.classifier = kept.encoder, kept.classifier
        self.register_buffer("log_prior", log_prior(counts).float(), persistent=False)


@dataclass
class PostHocAdjustment(StageTwo):
    """Menon et al., ICLR 2021, eq. (9): logits less ``tau`` times the log prior; nothing is trained.

    ``tau`` 0 keeps the classifier, 1 fits a balanced test set where stage one was plain cross-entropy. It is to be
    chosen on a validation part, never on the test set: ``-m stage_two.tau=0,0.5,1,...`` with
    ``dataset.validation_per_class=20 evaluation.split=validation``.  Raises SettingError for a negative ``tau``.
    """

    tau: float = 1.0
    uses_classifier: ClassVar[bool] = True
    needs_linear_classifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.tau < math.inf:
            raise SettingError("tau", "a number from 0, usually to 3", self.tau, 1)

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """Encoder and classifier of stage one; raises UsageError where the classifier is not linear."""
        kept = KeepClassifier().build(encoder, linear_of_stage_one(classifier, "logit_adjustment"), info)
        return _Adjusted(kept, info.class_counts)

    @torch.no_grad()
    def finish(self, method: Method, context: TrainContext) -> nn.Module:
        """A linear classifier with the same weights and another bias."""
        assert isinstance(method, _Adjusted)
        trained = linear_of_stage_one(method.classifier, "logit_adjustment")
        weight = trained.weight
        linear = nn.Linear(weight.shape[1], len(weight), device=weight.device, dtype=weight.dtype)
        linear.weight.copy_(weight)
        bias = torch.zeros_like(linear.bias) if trained.bias is None else trained.bias
        linear.bias.copy_(bias - self.tau * method.log_prior.to(bias.dtype))
        return linear

"""MiSLAS, stage two: stage one's linear classifier and a scale per class are trained on under smoothed labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lt_bench.contracts import Method, ParameterGroup, StageTwo, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.label_aware_smoothing import LabelAwareSmoothing, Over, Shape
from lt_bench.models.finetuned import FineTuned
from lt_bench.stage_two.frozen import ClassifierOnFrozen
from lt_bench.stage_two.linear import linear_of_stage_one
from lt_bench.stage_two.lws import ScaledLinear


class _Smoothed(ClassifierOnFrozen):
    classifier: ScaledLinear

    def __init__(self, encoder: nn.Module, classifier: ScaledLinear, info: TrainInfo, rule: MiSLAS) -> None:
        super().__init__(encoder, classifier, rule.augment)
        self.shift_bn, self.lr_factor = rule.shift_bn, rule.lr_factor
        shape = (rule.smooth_head, rule.smooth_tail, rule.shape, rule.power, rule.smoothing_over)
        self.criterion = LabelAwareSmoothing(info.class_counts, *shape)

    def train(self, mode: bool = True) -> _Smoothed:
        """As its base, but for batch norms that follow the data."""
        super().train(mode)
        for norm in batch_norms(self.encoder) if self.shift_bn else ():
            norm.training = mode
        return self

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The classifier at a fraction of the rate of its scales."""
        own = ParameterGroup("classifier", [*self.classifier.linear.parameters()], self.lr_factor)
        return own, ParameterGroup("scales", [self.classifier.scales])

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        loss: Tensor = self.criterion(logits, labels)
        return loss


@dataclass
class MiSLAS(StageTwo):
    """Zhong et al., CVPR 2021: label-aware smoothing, learnable scales of the logits, shifted batch norm.

    ``smooth_head``, ``smooth_tail``, ``shape``, ``power`` and ``smoothing_over`` are as in
    ``losses.label_aware_smoothing``. Weights, bias and scales are trained, the former at ``lr_factor`` times the rate.
    With ``shift_bn`` batch norms of the frozen encoder are in training mode: features are normalised with the batch,
    and the running statistics, with which images are evaluated, follow the data; the encoder's weights stay. The
    classes are balanced by the sampler.
    Source: authors' code.  Deviation: batch norms alone are in training mode; an epoch has no step beyond its images.
    Raises SettingError for values out of range, for ``shift_bn`` on cached features, and in ``build`` for an encoder
    without batch norms that can follow.
    """

    augment: bool = True
    smooth_head: float = 0.3
    smooth_tail: float = 0.0
    shape: Shape = "concave"
    power: float = 2.0
    smoothing_over: Over = "all"
    lr_factor: float = 0.2
    shift_bn: bool = True
    uses_classifier: ClassVar[bool] = True
    needs_linear_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.lr_factor < math.inf:
            raise SettingError("lr_factor", "above 0", self.lr_factor, 0.2)
        if self.shift_bn and not self.augment:
            raise SettingError("augment", "true where batch norms follow images (shift_bn)", self.augment, "true")

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A copy of stage one's classifier with scales of 1; raises UsageError where it is not linear."""
        linear = copy.deepcopy(linear_of_stage_one(classifier, "mislas"))
        if self.shift_bn:
            _require_batch_norms(encoder)
        return _Smoothed(encoder, ScaledLinear(linear), info, self)


def batch_norms(encoder: nn.Module) -> Iterator[_BatchNorm]:
    """The batch norms of an encoder, of any kind."""
    return (part for part in encoder.modules() if isinstance(part, _BatchNorm))


def _require_batch_norms(encoder: nn.Module) -> None:
    """Raise SettingError for an encoder whose batch norms are none, or are kept as they are and not stored anew."""
    if not any(batch_norms(encoder)):
        raise SettingError("shift_bn", "false for a network without batch norms", True, "false")
    if any(isinstance(part, FineTuned) and part.unchanged for part in encoder.modules()):
        raise SettingError("shift_bn", "false for a network of which a part alone is fine-tuned", True, "false")

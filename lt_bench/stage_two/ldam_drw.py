"""LDAM-DRW as stage two: label-distribution-aware margins and effective-number weights on a normalised classifier."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from lt_bench.contracts import Method, StageTwo, TrainInfo, feature_dim
from lt_bench.losses.ldam import DeferredLDAM
from lt_bench.models.heads import NormalizedLinear
from lt_bench.stage_two.frozen import ClassifierOnFrozen


class _LDAM(ClassifierOnFrozen):
    def __init__(self, encoder: nn.Module, info: TrainInfo, rule: LDAMDRW) -> None:
        # the classifier gives scale * cosine, so that softmax(logits) is the model's probability
        classifier = NormalizedLinear(feature_dim(encoder), info.num_classes, rule.scale)
        super().__init__(encoder, classifier, rule.augment)
        self.criterion = DeferredLDAM(info.class_counts, rule.max_margin, rule.scale, rule.beta, rule.drw_start_epoch)

    def phase(self, epoch: int) -> Hashable:
        """Whether class weights have begun."""
        return self.criterion.weights.begun(epoch)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        loss: Tensor = self.criterion(logits, labels, epoch)
        return loss


@dataclass
class LDAMDRW(StageTwo):
    """Cao et al., NeurIPS 2019, on a frozen encoder; re-weighting begins at ``drw_start_epoch`` (0: at once)."""

    begins_at: ClassVar[tuple[str, ...]] = ("drw_start_epoch",)
    augment: bool = True
    max_margin: float = 0.5
    scale: float = 30.0
    beta: float = 0.9999
    drw_start_epoch: int = 0

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A fresh normalised classifier under the LDAM loss."""
        return _LDAM(encoder, info, self)

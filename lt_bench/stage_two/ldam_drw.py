"""LDAM-DRW as stage two: label-distribution-aware margins and effective-number weights on a normalised classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Method, Run, TrainInfo, feature_dim
from lt_bench.losses.ldam import effective_number_weights, ldam, ldam_margins
from lt_bench.models.heads import NormalizedLinear
from lt_bench.stage_two.frozen import ClassifierOnFrozen


class _LDAM(ClassifierOnFrozen):
    margins: Tensor
    weights: Tensor

    def __init__(self, encoder: nn.Module, info: TrainInfo, rule: LDAMDRW) -> None:
        # the classifier gives scale * cosine, so that softmax(logits) is the model's probability
        classifier = NormalizedLinear(feature_dim(encoder), info.num_classes, rule.scale)
        super().__init__(encoder, classifier, rule.augment)
        counts = info.class_counts
        self.scale, self.start = rule.scale, rule.drw_start_epoch
        margins, weights = ldam_margins(counts, rule.max_margin), effective_number_weights(counts, rule.beta)
        self.register_buffer("margins", margins.float(), persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        weights = self.weights if epoch >= self.start else torch.ones_like(self.weights)
        return ldam(logits / self.scale, labels, self.margins, self.scale, weights)


@dataclass
class LDAMDRW:
    """Cao et al., NeurIPS 2019, on a frozen encoder; re-weighting begins at ``drw_start_epoch`` (0: at once)."""

    augment: bool = True
    max_margin: float = 0.5
    scale: float = 30.0
    beta: float = 0.9999
    drw_start_epoch: int = 0
    uses_classifier: ClassVar[bool] = False

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A fresh normalised classifier under the LDAM loss."""
        return _LDAM(encoder, info, self)

    def finish(self, method: Method, run: Run) -> nn.Module:
        """The trained classifier, which gives scale * cosine without margins."""
        assert method.classifier is not None
        return method.classifier

"""RIDE's second stage: which images need further experts is learnt, on all experts as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, StageTwo, TrainContext, TrainInfo, feature_dim
from lt_bench.errors import SettingError, UsageError
from lt_bench.losses.router import needs_more, routing_loss
from lt_bench.models.experts import ExpertHeads
from lt_bench.models.router import RoutedExperts
from lt_bench.stage_two.frozen import ClassifierOnFrozen


class Routing(ClassifierOnFrozen):
    """Trains what decides on further experts; encoder and experts are frozen."""

    classifier: RoutedExperts

    def __init__(self, encoder: nn.Module, classifier: RoutedExperts, augment: bool, weight: float) -> None:
        super().__init__(encoder, classifier, augment)
        classifier.experts.requires_grad_(False)
        self.weight = weight

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The routing loss on the joined batch of all ranks, and how many experts an image takes on average."""
        features = self.features(batch.views[0])
        with torch.no_grad():
            logits = self.classifier.experts.expert_logits(features)
            needed = context.gather(needs_more(logits, batch.labels))
        scores = context.gather(self.classifier.scores(features, logits))
        used = self.classifier.used(scores.detach()).to(scores.dtype).mean()
        return {"loss": routing_loss(scores, needed, self.weight), "experts": used}


@dataclass
class ExpertRouter(StageTwo):
    """Wang et al., ICLR 2021 (RIDE): experts are asked one after the other, see ``RoutedExperts``.

    An image that needs a further expert counts ``positive_weight`` times. Accuracy is not gained but computation saved.
    Deviation: images are cropped and flipped alone; images of a class are drawn with replacement, where theirs come in
    shuffled turns. Raises SettingError for values out of range.
    """

    augment: bool = True
    top: int = 30
    positive_weight: float = 100.0
    uses_classifier: ClassVar[bool] = True
    needs_experts: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.top < 1:
            raise SettingError("top", "1 or more", self.top, 30)
        if not 0 < self.positive_weight < math.inf:
            raise SettingError("positive_weight", "above 0", self.positive_weight, 100)

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A router that knows nothing on stage one's experts; raises UsageError where there are none."""
        if not isinstance(classifier, ExpertHeads):
            raise UsageError("stage_two=router needs a classifier of several experts; set stage_two=none")
        features = feature_dim(encoder) // len(classifier.heads)
        routed = RoutedExperts(classifier, features, info.num_classes, self.top)
        return Routing(encoder, routed, self.augment, self.positive_weight)

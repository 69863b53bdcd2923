"""NCL: whole networks that learn together, on all classes and on those that are hardest for an image."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.ncl import HardFill, NCLLoss
from lt_bench.methods.cosine_experts import OfExperts
from lt_bench.models.heads import BiasedCosine

Classifier = Literal["linear", "cosine"]


def hard_classes(share: float, num_classes: int) -> int:
    """How many classes a share of all is, rounded down: two or more, where there are as many."""
    return min(num_classes, max(2, math.floor(share * num_classes + 1e-9)))


class NCL(OfExperts):
    """Li et al., CVPR 2022, without its contrastive part: the loss of all networks, see ``NCLLoss``.

    ``hard_share`` of the classes are the hardest, see ``hard_classes``. A ``classifier`` is linear, or ``scale`` times
    cosines plus a learned bias. With shared stages the networks are experts on them, which is not NCL's own.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    kind_of_loss: ClassVar[type[NCLLoss]] = NCLLoss

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        hard_share: float = 0.3,
        hard_fill: HardFill = "exclude",
        factor: float = 0.6,
        factor_hard: float = 0.6,
        ce_ratio: float = 1.0,
        hard_ratio: float = 1.0,
        classifier: Classifier = "linear",
        scale: float = 16.0,
        **common: Any,
    ) -> None:
        if not 0 < hard_share <= 1:
            raise SettingError("hard_share", "above 0 and at most 1", hard_share, 0.3)
        if classifier not in ("linear", "cosine"):
            raise SettingError("classifier", "linear or cosine", classifier, "linear")
        if not 0 < scale < math.inf:
            raise SettingError("scale", "above 0", scale, 16)
        self.kind_of_classifier, self.scale = classifier, scale
        super().__init__(encoder, info, **common)
        hard, weights = hard_classes(hard_share, info.num_classes), (factor, factor_hard, ce_ratio, hard_ratio)
        self.criterion = self.kind_of_loss(info.class_counts, hard, hard_fill, *weights)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """A linear layer, or scaled cosines with a bias."""
        if self.kind_of_classifier == "linear":
            return nn.Linear(features, num_classes)
        return BiasedCosine(features, num_classes, self.scale)

    def experts_loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """NCL's loss of raw logits (B, K, C) and labels (B,); see ``CE``."""
        loss: Tensor = self.criterion(logits, labels, reduction)
        return loss

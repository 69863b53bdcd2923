"""LIFT: few trained parameters of a pretrained transformer, a cosine classifier, the logit-adjusted loss."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.models.heads import NormalizedLinear


class LIFT(BalancedSoftmax):
    """Shi et al., ICML 2024: Balanced Softmax on ``scale`` times the cosine of feature and class vector.

    Which parameters are trained and what the classifier starts from is the component ``finetune``.
    Source: authors' code.  Deviation: none.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    provides_classifier: ClassVar[bool] = True
    linear_classifier: ClassVar[bool] = False
    normalized_classifier: ClassVar[bool] = True

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        scale: float = 25.0,
        tau: float = 1.0,
        **common: Any,
    ) -> None:
        if not 0 < scale < math.inf:
            raise SettingError("scale", "positive and finite", scale, 25.0)
        self.scale = scale
        super().__init__(encoder, info, tau=tau, **common)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """Scaled cosines, with random class vectors."""
        return NormalizedLinear(features, num_classes, self.scale)

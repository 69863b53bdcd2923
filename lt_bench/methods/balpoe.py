"""BalPoE: experts whose logits carry different amounts of the class prior while training."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.experts import Spread, biased_cross_entropy, expert_taus, log_shares
from lt_bench.methods.ce import CE
from lt_bench.methods.experts import Experts
from lt_bench.models.heads import NormalizedLinear


class BalPoE(CE):
    """Aimar et al., CVPR 2023: expert e is trained on scaled cosines + tau_e log prior; the mean of logits predicts.

    The taus go from ``tau_min`` to ``tau_max``, see ``expert_taus``; where their mean is 1 the prediction fits a
    balanced test set. A ``mixing`` by mixup calibrates it.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    linear_classifier: ClassVar[bool] = False
    bias: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        experts: Experts,
        tau_min: float = 0.0,
        tau_max: float = 2.0,
        spread: Spread = "limits",
        scale: float = 30.0,
        **common: Any,
    ) -> None:
        if not 0 < scale < math.inf:
            raise SettingError("scale", "above 0", scale, 30)
        if not tau_min <= tau_max:
            raise SettingError("tau_max", f"at least tau_min={tau_min:g}", tau_max, max(tau_min, 2.0))
        self.scale = scale
        super().__init__(encoder, info, experts=experts, **common)
        taus = expert_taus(experts.count, tau_min, tau_max, spread)
        self.register_buffer("bias", (taus[:, None] * log_shares(info.class_counts)).float(), persistent=False)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """Scaled cosines."""
        return NormalizedLinear(features, num_classes, self.scale)

    def experts_loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """The mean over experts of their prior-adjusted cross-entropies; see ``CE``."""
        return biased_cross_entropy(logits, labels, self.bias, reduction)

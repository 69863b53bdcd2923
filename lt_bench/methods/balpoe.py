"""BalPoE: experts whose logits carry different amounts of the class prior while training."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.experts import Spread, biased_cross_entropy, expert_taus, log_shares
from lt_bench.methods.cosine_experts import CosineExperts
from lt_bench.methods.experts import Experts


class BalPoE(CosineExperts):
    """Aimar et al., CVPR 2023: expert e is trained on scaled cosines + tau_e log prior; the mean of logits predicts.

    The taus go from ``tau_min`` to ``tau_max``, see ``expert_taus``; where their mean is 1 the prediction fits a
    balanced test set. A ``mixing`` by mixup calibrates it.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    bias: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        experts: Experts | None = None,
        tau_min: float = 0.0,
        tau_max: float = 2.0,
        spread: Spread = "limits",
        **common: Any,
    ) -> None:
        if not tau_min <= tau_max:
            raise SettingError("tau_max", f"at least tau_min={tau_min:g}", tau_max, max(tau_min, 2.0))
        super().__init__(encoder, info, experts=experts, **common)
        taus = expert_taus(1 if experts is None else experts.count, tau_min, tau_max, spread)
        self.register_buffer("bias", (taus[:, None] * log_shares(info.class_counts)).float(), persistent=False)

    def experts_loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """The mean over experts of their prior-adjusted cross-entropies; see ``CE``."""
        return biased_cross_entropy(logits, labels, self.bias, reduction)

"""SADE: three experts for the training, the uniform and the inverted distribution of classes."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.experts import biased_cross_entropy, skill_biases
from lt_bench.methods.cosine_experts import CosineExperts
from lt_bench.methods.experts import Experts


class SADE(CosineExperts):
    """Zhang et al., NeurIPS 2022: cross-entropy, Balanced Softmax and one for the inverted prior to the power ``tau``.

    The prediction is the mean of the logits; their weights by test images are a choice of evaluation.
    Raises SettingError for values out of range and for other than three experts, DataError for a class without
    training images.
    """

    bias: Tensor

    def __init__(
        self, encoder: nn.Module, info: TrainInfo, *, experts: Experts | None = None, tau: float = 2.0, **common: Any
    ) -> None:
        if not 0 <= tau < math.inf:
            raise SettingError("tau", "0 or more", tau, 2.0)
        if experts is not None and experts.count != 3:
            raise SettingError("experts.count", "3, one for each distribution", experts.count, 3)
        super().__init__(encoder, info, experts=experts, **common)
        self.register_buffer("bias", skill_biases(info.class_counts, tau).float(), persistent=False)

    def experts_loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """The sum over experts of their cross-entropies; see ``CE``."""
        return logits.shape[1] * biased_cross_entropy(logits, labels, self.bias, reduction)

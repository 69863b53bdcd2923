"""Balanced Softmax: cross-entropy with the class prior added to the logits while training."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.losses.reweighted import class_weights
from lt_bench.methods.ce import CE


class BalancedSoftmax(CE):
    """Ren et al., NeurIPS 2020, and with ``tau`` other than 1 the loss of Menon et al., ICLR 2021.

    The prior is no part of the classifier: at test time the logits are raw, which fits a balanced test set.
    ``class_weight_beta`` also weighs classes by their effective number of images (Cui et al., CVPR 2019; 0: not at
    all); the weighted mean is that of the joined batch.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    provides_classifier: ClassVar[bool] = True
    microbatches_without: ClassVar[tuple[str, ...]] = ("class_weight_beta",)
    log_prior: Tensor
    class_weights: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        tau: float = 1.0,
        class_weight_beta: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(encoder, info, **common)
        if not 0 <= tau < math.inf:
            raise SettingError("tau", "0 (plain cross-entropy) or more", tau, 1.0)
        self.tau = tau
        self.register_buffer("log_prior", log_prior(info.class_counts).float(), persistent=False)
        self.register_buffer("class_weights", class_weights(info.class_counts, class_weight_beta), persistent=False)
        self.joined = self.joined or class_weight_beta > 0

    def loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """Mean prior-adjusted cross-entropy of raw logits (B, C) and labels (B,); see ``CE``."""
        return logit_adjusted_cross_entropy(logits, labels, self.log_prior, self.tau, self.class_weights, reduction)

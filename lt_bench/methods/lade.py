"""LADE: Balanced Softmax, and logits that are pulled towards the log-ratios they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.losses.lade import EPSILON, lade, with_epsilon
from lt_bench.losses.logit_adjustment import logit_adjusted_cross_entropy
from lt_bench.methods.balanced_softmax import BalancedSoftmax


class LADE(BalancedSoftmax):
    """Hong et al., CVPR 2021: ``alpha`` times LADE's term, a statistic of the joined batch, beside Balanced Softmax.

    ``official_epsilon`` adds the 1e-9 of the authors' code to the shares of classes. At test time the logits are raw,
    which fits a balanced test set. Raises SettingError for values out of range.
    """

    microbatches: ClassVar[bool] = False

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        alpha: float = 0.1,
        regularisation: float = 0.01,
        official_epsilon: bool = False,
        views: Sequence[View] = ("crop_flip",),
    ) -> None:
        super().__init__(encoder, info, views=views)
        for name, value, default in (("alpha", alpha, 0.1), ("regularisation", regularisation, 0.01)):
            if not 0 <= value < math.inf:
                raise SettingError(name, "0 or more", value, default)
        self.alpha, self.regularisation, self.official_epsilon = alpha, regularisation, official_epsilon

    def loss(  # type: ignore[override]  # a statistic of the batch has no summand for an image
        self, logits: Tensor, labels: Tensor, epoch: int
    ) -> Tensor:
        """The sum of both terms of raw logits (B, C) and labels (B,)."""
        term = lade(logits, labels, self.log_prior, self.regularisation, self.official_epsilon)
        prior = with_epsilon(self.log_prior, EPSILON if self.official_epsilon else 0.0)
        return logit_adjusted_cross_entropy(logits, labels, prior, self.tau) + self.alpha * term

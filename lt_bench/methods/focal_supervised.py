"""The supervised focal loss: cross-entropy that looks away from what is classified already."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.reweighted import focal
from lt_bench.methods.ce_drw import CEDRW


class FocalSupervised(CEDRW):
    """Lin et al., ICCV 2017, for softmax; with ``beta`` also weighted by class, from ``drw_start_epoch`` on.

    ``weights_inside`` raises exp(-weight * cross-entropy) instead of the probability, as the LDAM-DRW authors' code.
    Raises SettingError for values out of range.
    """

    microbatches: ClassVar[bool] = True  # the mean is over images, whatever their weights

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        gamma: float = 1.0,
        beta: float = 0.0,
        drw_start_epoch: int = 0,
        weights_inside: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(encoder, info, beta=beta, drw_start_epoch=drw_start_epoch, **common)
        if not 0 <= gamma < math.inf:
            raise SettingError("gamma", "0 (plain cross-entropy) or more", gamma, 1.0)
        self.gamma, self.weights_inside = gamma, weights_inside

    def loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """Mean focal loss of logits (B, C) and labels (B,); see ``CE``."""
        return focal(logits, labels, self.gamma, self.weights(epoch), self.weights_inside, reduction)

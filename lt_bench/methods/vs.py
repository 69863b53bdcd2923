"""VS: the vector-scaling loss, which divides and shifts logits by class while training."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.losses.vector_scaling import vector_scales, vector_scaling, vector_shifts
from lt_bench.methods.ce_drw import CEDRW


class VS(CEDRW):
    """Kini et al., NeurIPS 2021; with ``beta`` also weighted by class, from ``drw_start_epoch`` on.

    gamma = 0 is logit adjustment, tau = 0 the class-dependent temperatures of Ye et al., 2020. At test time the logits
    are raw. The weighted mean is that of the joined batch. Raises SettingError for values out of range.
    """

    scales: Tensor
    shifts: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        gamma: float = 0.3,
        tau: float = 1.0,
        beta: float = 0.0,
        drw_start_epoch: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(encoder, info, beta=beta, drw_start_epoch=drw_start_epoch, **common)
        counts = info.class_counts
        self.register_buffer("scales", vector_scales(counts, gamma).float(), persistent=False)
        self.register_buffer("shifts", vector_shifts(counts, tau).float(), persistent=False)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """The vector-scaling loss of raw logits (B, C) and labels (B,); see ``CE``."""
        return vector_scaling(logits, labels, self.scales, self.shifts, self.weights(epoch), reduction)

"""LDAM-DRW, end to end: label-distribution-aware margins, and class weights once the representation has settled."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.losses.ldam import DeferredLDAM
from lt_bench.methods.ce import CE
from lt_bench.models.heads import NormalizedLinear


class LDAMDRW(CE):
    """Cao et al., NeurIPS 2019: encoder and normalised classifier together; weights begin at ``drw_start_epoch``.

    The classifier gives scale * cosine without margins, so that softmax(logits) is the model's probability. The loss
    is a weighted mean, so it is that of the joined batch.
    """

    provides_classifier: ClassVar[bool] = True
    linear_classifier: ClassVar[bool] = False
    normalized_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = False
    begins_at: ClassVar[tuple[str, ...]] = ("drw_start_epoch",)

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        drw_start_epoch: int = 160,
        **common: Any,
    ) -> None:
        self.scale = scale
        super().__init__(encoder, info, **common)
        self.criterion = DeferredLDAM(info.class_counts, max_margin, scale, beta, drw_start_epoch)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """Scaled cosines."""
        return NormalizedLinear(features, num_classes, self.scale)

    def phase(self, epoch: int) -> Hashable:
        """Whether class weights have begun."""
        return self.criterion.weights.begun(epoch)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """The LDAM loss of scaled cosines (B, C) and labels (B,); see ``CE``."""
        loss: Tensor = self.criterion(logits, labels, epoch, reduction)
        return loss

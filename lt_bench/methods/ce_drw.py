"""CE-DRW: cross-entropy whose class weights begin once the representation has settled."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.losses.cross_entropy import weighted_cross_entropy
from lt_bench.losses.reweighted import DeferredWeights
from lt_bench.methods.ce import CE


class CEDRW(CE):
    """Cao et al., NeurIPS 2019, deferred re-weighting without margins; from epoch 0 on, the class-balanced loss.

    The loss is a weighted mean, so it is that of the joined batch, and a batch of one class does not feel its weight.
    """

    provides_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = False
    begins_at: ClassVar[tuple[str, ...]] = ("drw_start_epoch",)

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        beta: float = 0.9999,
        drw_start_epoch: int = 160,
        **common: Any,
    ) -> None:
        super().__init__(encoder, info, **common)
        self.weights = DeferredWeights(info.class_counts, beta, drw_start_epoch)

    def phase(self, epoch: int) -> Hashable:
        """Whether class weights have begun."""
        return self.weights.begun(epoch)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """Cross-entropy of logits (B, C) and labels (B,), averaged with the weights of the epoch; see ``CE``."""
        return weighted_cross_entropy(logits, labels, self.weights(epoch), reduction)

"""LDAM-DRW, end to end: label-distribution-aware margins, and class weights once the representation has settled."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, feature_dim
from lt_bench.losses.ldam import DeferredLDAM
from lt_bench.models.heads import NormalizedLinear


class LDAMDRW(Method):
    """Cao et al., NeurIPS 2019: encoder and normalised classifier together; weights begin at ``drw_start_epoch``.

    The classifier gives scale * cosine without margins, so that softmax(logits) is the model's probability.
    """

    provides_classifier: ClassVar[bool] = True
    linear_classifier: ClassVar[bool] = False
    begins_at: ClassVar[tuple[str, ...]] = ("drw_start_epoch",)
    classifier: NormalizedLinear

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        drw_start_epoch: int = 160,
    ) -> None:
        super().__init__()
        self.views = ("crop_flip",)
        self.encoder = encoder
        self.classifier = NormalizedLinear(feature_dim(encoder), info.num_classes, scale)
        self.criterion = DeferredLDAM(info.class_counts, max_margin, scale, beta, drw_start_epoch)

    def phase(self, epoch: int) -> Hashable:
        """Whether class weights have begun."""
        return epoch >= self.criterion.drw_start_epoch

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """LDAM loss of the joined batch, whose weighted mean is over all ranks, and the accuracy on it."""
        logits = context.gather(self.classifier(self.encoder(batch.views[0])))
        labels = context.gather(batch.labels)
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": self.criterion(logits, labels, epoch), "accuracy": accuracy}

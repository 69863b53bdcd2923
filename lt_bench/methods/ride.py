"""RIDE: diverse experts with margins and deferred class weights, and their distillation from a larger one."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.ldam import DeferredLDAM
from lt_bench.losses.ride import RideLoss, distillation
from lt_bench.methods.cosine_experts import CosineExperts
from lt_bench.models.teacher import Teacher


class RIDE(CosineExperts):
    """Wang et al., ICLR 2021: the loss of all experts, see ``RideLoss``; their stage that routes images is a stage two.

    ``teacher`` is the folder of a run whose predictor, one with more experts, is also agreed with, see
    ``distillation``. ``repeated_loss`` takes the sum of all once for every expert when there is a teacher, as the
    authors' code does. The loss is that of the joined batch.
    Deviation: the teacher is in evaluation mode, theirs in training mode.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    microbatches: ClassVar[bool] = False
    begins_at: ClassVar[tuple[str, ...]] = ("drw_start_epoch",)

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        max_margin: float = 0.5,
        beta: float = 0.9999,
        drw_start_epoch: int = 160,
        diversity_factor: float = -0.2,
        reweight_factor: float = 0.05,
        diversity_temperature: float = 1.0,
        joint_without_diversity: bool = False,
        teacher: str | None = None,
        distill_temperature: float = 1.5,
        repeated_loss: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(encoder, info, **common)
        if not 0 < distill_temperature < math.inf:
            raise SettingError("distill_temperature", "above 0", distill_temperature, 1.5)
        counts = info.class_counts
        individual = DeferredLDAM(counts, max_margin, self.scale, beta, drw_start_epoch)
        self.criterion = RideLoss(
            counts, individual, diversity_factor, reweight_factor, diversity_temperature, joint_without_diversity
        )
        self.num_classes, self.repeated_loss = info.num_classes, repeated_loss
        self.distill_temperature = distill_temperature
        self.awaits_teacher = teacher is not None
        self.teacher: Teacher | None = None
        self.taught: Tensor | None = None  # the teacher's logits for the batch of a step

    def learn_from(self, encoder: nn.Module, classifier: nn.Module, classes: int) -> None:
        """Take a teacher with so many classes; SettingError unless they are as many as here."""
        if classes != self.num_classes:
            raise SettingError("teacher", f"a run with the {self.num_classes} classes of this one", classes, "null")
        self.teacher = Teacher(encoder, classifier)

    def phase(self, epoch: int) -> Hashable:
        """Whether class weights have begun."""
        return self.criterion.individual.weights.begun(epoch)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """As ``CE``, with what the teacher says of the batch."""
        if self.teacher is not None:
            self.taught = context.gather(self.teacher(batch.views[0]))
        elif self.awaits_teacher:
            raise TypeError("a teacher is named and was not given: call learn_from first")
        return super().forward(batch, epoch, step, context)

    def experts_loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """RIDE's loss of logits (B, K, C) and labels (B,); see ``CE``."""
        loss: Tensor = self.criterion(logits, labels, epoch, reduction)
        if self.taught is None:
            return loss
        agreeing = distillation(logits, self.taught, self.distill_temperature)
        loss = loss + (agreeing.mean() if reduction == "mean" else agreeing)
        return logits.shape[1] * loss if self.repeated_loss else loss

"""NCL++: networks that agree with each other, and each with itself on several copies of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.losses.ncl import NCLLoss, NCLPlusLoss
from lt_bench.methods.ncl import NCL
from lt_bench.models.experts import ExpertHeads


class NCLPlus(NCL):
    """The authors' code of NCL++ (Pattern Recognition 2024): ``NCL`` on as many copies of an image as there are views.

    The copies pass the networks in one batch; see ``NCLPlusLoss``.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    kind_of_loss: ClassVar[type[NCLLoss]] = NCLPlusLoss

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        views: Sequence[View] = ("autoaugment_cutout",) * 4,
        **common: Any,
    ) -> None:
        if len(views) < 2:
            raise SettingError("views", "a list of two views or more", list(views), "[crop_flip,crop_flip]")
        super().__init__(encoder, info, views=views[:1], **common)
        self.views = tuple(views)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of all views, and the accuracy of the mean of their logits."""
        return self.judged(self.encoder(torch.cat(batch.views)), batch, epoch, context)

    def expert_logits(self, heads: ExpertHeads, features: Tensor) -> Tensor:
        """The logits (B, I K, C) of the K networks for I copies, of features (I B, K D), copy by copy."""
        return heads.expert_logits(features).unflatten(0, (len(self.views), -1)).transpose(0, 1).flatten(1, 2)

    def experts_loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """The loss of raw logits (B, I K, C) and labels (B,); see ``CE``."""
        return super().experts_loss(logits.unflatten(1, (len(self.views), -1)), labels, epoch, reduction)

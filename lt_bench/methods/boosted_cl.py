"""Boosted contrastive learning: images that are learned less well are augmented more strongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import TrainContext, TrainInfo, View
from lt_bench.errors import renamed
from lt_bench.methods.simclr import SimCLR
from lt_bench.models.loss_memory import LossMemory


class BoostedCL(SimCLR):
    """Zhou et al., ICML 2022, authors' code: ``SimCLR`` with its options, and RandAugment by a memory of losses.

    ``loss_momentum`` and ``loss_memory_batch_correction`` are those of ``LossMemory``. The views say how many
    operations an image gets and how its weight makes their strength.
    Deviation: the correction, without which the images of a smaller last batch count as easy.
    Raises SettingError for values out of range.
    """

    gives_strength: ClassVar[bool] = True
    least_epochs: ClassVar[int] = 2  # in the first, nothing is known of an image yet

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        loss_momentum: float = 0.97,
        loss_memory_batch_correction: bool = True,
        views: Sequence[View] = ("boosted", "boosted"),
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, views=views, **options)
        with renamed(momentum="loss_momentum"):
            self.loss_memory = LossMemory(len(info.labels), loss_momentum, loss_memory_batch_correction)

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Take new strengths from the losses of the epochs before; in the first there are none."""
        super().on_epoch_start(epoch, context)
        if epoch > 0:
            self.loss_memory.renew_weights()

    def strength(self) -> Tensor:
        """The weight of every image, (N,)."""
        return self.loss_memory.weights

    def on_losses(self, losses: Tensor, indices: Tensor, epoch: int) -> None:
        """All ranks' losses (B,) enter the memory of their images, indices (B,)."""
        self.loss_memory.update(indices, losses)

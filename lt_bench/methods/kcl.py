"""KCL: supervised contrastive learning in which head classes have no more positives than tail classes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.losses.kcl import k_positives_in_batch
from lt_bench.methods.supcon import SupCon


class KCL(SupCon):
    """Kang et al., ICLR 2021, within the batch, as Li et al., CVPR 2022, compare with it on CIFAR.

    ``positives`` images of its class are drawn for every view, beside the image's other view; 0 takes all of them.
    Deviation: none of the paper; the authors' code has a queue of keys. Raises SettingError for values out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        temperature: float = 0.07,
        positives: int = 6,
        projection_hidden: int | None = None,
        projection_dim: int = 128,
        views: Sequence[View] = ("simclr", "simclr"),
    ) -> None:
        super().__init__(
            encoder,
            info,
            temperature=temperature,
            base_temperature=temperature,
            projection_hidden=projection_hidden,
            projection_dim=projection_dim,
            views=views,
        )
        if positives < 0:
            raise SettingError("positives", "0 or more", positives, 6)
        self.positives = positives

    def phase(self, epoch: int) -> Hashable:
        """Nothing, as positives are drawn in every step, unless all are taken."""
        return None if self.positives else 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss on the joined batch of all ranks."""
        features, labels = context.gather(self.embed_views(batch)), context.gather(batch.labels)
        draws = self.draws(len(labels), epoch, step, context)
        return {"loss": k_positives_in_batch(features, labels, draws, self.temperature)}

    def draws(self, images: int, epoch: int, step: int, context: TrainContext) -> Tensor:
        """Uniform numbers (positives, 2 images), the same on every rank."""
        generator = context.generator("positives", epoch, step)
        return torch.rand(self.positives, 2 * images, generator=generator, device=generator.device)

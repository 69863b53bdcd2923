"""TSC: KCL, and in the second half a target on the sphere for every class, all of them far apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.contrast import by_view
from lt_bench.losses.kcl import k_positives_in_batch
from lt_bench.losses.tsc import targeted
from lt_bench.methods.kcl import KCL
from lt_bench.methods.targeted import Targeted

OFFICIAL_BASE = 0.07  # authors' code for CIFAR: the loss is multiplied by temperature / this


class TSC(Targeted, KCL):
    """Li et al., CVPR 2022, within the batch: KCL for ``warm_epochs``, then with targets.

    With ``target_images`` 0 the loss is the supplement's. With n, every target is in the batch as both views of n
    images of its class, which never gets another; it is not weighted, as in the authors' code for CIFAR. Further
    options are those of ``Targeted`` and ``KCL``.
    Deviation: the authors' code, which is for large images, matches in every step and starts at random; a simplex, or
    directions that are spread further apart than theirs, instead of a file of targets; centres move with both views.
    Raises SettingError for values out of range.
    """

    def __init__(self, encoder: nn.Module, info: TrainInfo, *, target_images: int = 0, **options: Any) -> None:
        super().__init__(encoder, info, **options)
        if target_images < 0:
            raise SettingError("target_images", "0 or more", target_images, 25)
        self.target_images = target_images

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Start the centres and match, unless targets stand for images."""
        if not self.target_images:
            super().on_epoch_start(epoch, context)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """KCL's loss while warming up, then that with targets, on the joined batch; centres move before it is taken.

        "rematched" is the share of classes that the last matching gave another target.
        """
        if epoch < self.warm_epochs:
            return super().forward(batch, epoch, step, context)
        features, labels = context.gather(self.embed_views(batch)), context.gather(batch.labels)
        if self.target_images:
            return {"loss": self._among_images(features, labels, epoch, step, context)}
        targets = self.follow(by_view(features.detach()), labels.repeat(2), step, context)
        draws = self.draws(len(labels), epoch, step, context)
        loss = targeted(features, labels, draws, self.temperature, targets)
        return {"loss": loss, "rematched": self.rematched.clone()}

    def _among_images(self, features: Tensor, labels: Tensor, epoch: int, step: int, context: TrainContext) -> Tensor:
        """The loss where the classes' targets are images of theirs, which are anchors and are drawn as others are."""
        of_targets = torch.arange(len(self.targets), device=labels.device).repeat_interleave(self.target_images)
        points = self.targets.to(features.dtype).repeat_interleave(self.target_images, 0)
        features = torch.cat([features, points[:, None].expand(-1, 2, -1)])
        labels = torch.cat([labels, of_targets])
        draws = self.draws(len(labels), epoch, step, context)
        loss = k_positives_in_batch(features, labels, draws, self.temperature)
        return self.temperature / OFFICIAL_BASE * loss

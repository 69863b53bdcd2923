"""SBCL for large images: queries of one view against momentum keys of the other and of a long queue."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.losses.kcl_moco import k_positive
from lt_bench.losses.sbcl_moco import queue_subclass_balancing
from lt_bench.methods.moco import MoCo, RestartAfterWarmUp
from lt_bench.methods.sbcl import SBCL


class SBCLMoCo(RestartAfterWarmUp, MoCo, SBCL):
    """Hou et al., ICCV 2023 (large-image form, on MoCo v2): k-positive warm-up, then the bi-granularity loss.

    The first view is the query, the second the key of a momentum copy, whose embeddings are also what is clustered.
    ``positives`` entries of its class are drawn for every query while warming up; with ``restart`` optimiser and
    schedule begin anew at ``warm_epochs``. ``class_temperature`` null follows ``temperature_law``, a number is that of
    every class, as in the authors' code. Further options are those of ``MoCo`` and ``SBCL``.
    Deviation: the queue keeps positions in the train split, so that every key has the subclass its image has now
    (theirs keeps the numbers of older clusterings); one clustering serves all processes; batch norm sees the joined
    batch (theirs shuffles the keys among processes).
    Raises SettingError for values out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        temperature: float = 0.07,
        beta: float = 0.2,
        warm_epochs: int = 200,
        update_interval: int = 5,
        minimum_size: int = 20,
        class_temperature: float | None = None,
        restart: bool = True,
        views: Sequence[View] = ("sim_blur", "sim_blur"),
        **options: Any,
    ) -> None:
        super().__init__(
            encoder,
            info,
            temperature=temperature,
            beta=beta,
            warm_epochs=warm_epochs,
            update_interval=update_interval,
            minimum_size=minimum_size,
            views=views,
            **options,
        )
        if self.positives < 1:
            raise SettingError("positives", "1 or more", self.positives, 6)
        if class_temperature is not None and not class_temperature > 0:
            raise SettingError("class_temperature", "above 0", class_temperature, 0.12)
        self.class_temperature, self.restart = class_temperature, restart

    def embed_for_clusters(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to keys (B, D)."""
        keys: Tensor = self.momentum_encoder(images)
        return keys

    def update(self, epoch: int, context: TrainContext) -> None:
        """Renew subclasses and, unless it is constant, every class's temperature."""
        super().update(epoch, context)
        if self.class_temperature is not None:
            self.class_temperatures.fill_(self.class_temperature)

    def phase(self, epoch: int) -> Hashable:
        """Nothing while warming up, when positives are drawn in every step."""
        return None if epoch < self.warm_epochs else 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the queries against the queue as it was; then the keys of all ranks join the queue."""
        anchors, members = self.contrast(batch, batch.indices, context)
        queue_labels = _look_up(self.labels, members)
        if epoch < self.warm_epochs:
            draws = self.draws(len(batch.labels), epoch, step, context)
            loss = k_positive(anchors, batch.labels, queue_labels, draws, self.temperature)
            return {"loss": self.temperature / self.warm_base_temperature * loss}
        loss = queue_subclass_balancing(
            anchors,
            batch.labels[:, None] == queue_labels,
            self.subclasses[batch.indices, None] == _look_up(self.subclasses, members),
            self.subclass_temperature,
            self.class_temperatures[batch.labels],
            self.beta,
            self.base_temperature,
        )
        return {"loss": loss}


def _look_up(values: Tensor, members: Tensor) -> Tensor:
    """Values of the train split (N,) at the queue's positions in it (K,), -1 where nothing is written yet."""
    return torch.where(members < 0, -1, values[members.clamp(min=0)])

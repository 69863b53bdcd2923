"""TSC for large images: KCL with a queue, and in the second half a target on the sphere for every class."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo
from lt_bench.losses.tsc import Normaliser
from lt_bench.losses.tsc_moco import targeted_in_queue
from lt_bench.methods.kcl_moco import KCLMoCo
from lt_bench.methods.moco import RestartAfterWarmUp
from lt_bench.methods.targeted import Targeted


class TSCMoCo(RestartAfterWarmUp, Targeted, KCLMoCo):
    """Li et al., CVPR 2022, authors' code: ``KCLMoCo`` for ``warm_epochs``, then with targets.

    With ``restart`` optimiser and schedule begin anew at ``warm_epochs``. Further options are those of ``Targeted`` and
    ``KCLMoCo``.
    Deviation: the authors' code matches in every step and starts its centres at random, and its targets stand in a
    file; here see ``Targeted``.
    Raises SettingError for values out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        warm_epochs: int = 200,
        target_normaliser: Normaliser = "code",
        restart: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, warm_epochs=warm_epochs, target_normaliser=target_normaliser, **options)
        self.restart = restart

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """KCL's loss while warming up, then that with targets; centres move to all ranks' queries before it is taken.

        "rematched" is the share of classes that the last matching gave another target.
        """
        if epoch < self.warm_epochs:
            return super().forward(batch, epoch, step, context)
        anchors, queue_labels = self.contrast(batch, batch.labels, context)
        queries, labels = context.gather(anchors.queries.detach()), context.gather(batch.labels)
        targets = self.follow(queries, labels, step, context)
        draws = self.draws(len(batch.labels), epoch, step, context)
        loss = targeted_in_queue(anchors, batch.labels, queue_labels, draws, self.temperature, targets, self.sampling)
        return {"loss": loss, "rematched": self.rematched.clone()}

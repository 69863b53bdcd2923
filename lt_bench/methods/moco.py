"""What KCL, TSC and SBCL have in common on large images: queries, keys of a momentum copy, and a queue of past keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View
from lt_bench.errors import renamed
from lt_bench.losses.queue import Anchors
from lt_bench.methods.supcon import SupCon
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.queue import LabelledQueue


class RestartAfterWarmUp(Method):
    """Optimiser and schedule begin anew at ``warm_epochs``, where ``restart`` says so."""

    restarts_at: ClassVar[str | None] = "warm_epochs"
    warm_epochs: int
    restart: bool

    def restart_epochs(self) -> tuple[int, ...]:
        """The end of the warm-up, where it has one."""
        return (self.warm_epochs,) if self.restart and self.warm_epochs > 0 else ()


class MoCo(SupCon):
    """He et al., CVPR 2020, with labels: the first view is the query, the second the key of a momentum copy.

    ``positives`` entries of its class are drawn for every query; ``momentum`` is that of the copy.
    Deviation: batch norm sees the joined batch (theirs shuffles the keys among processes).
    Raises SettingError for values out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        positives: int = 6,
        queue_size: int = 65536,
        momentum: float = 0.999,
        projection_dim: int = 128,
        views: Sequence[View] = ("jitter", "jitter"),
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, projection_dim=projection_dim, views=views, **options)
        self.positives = positives
        self.momentum_encoder = MomentumEncoder(self.encoder, self.head, momentum=momentum)
        with renamed(size="queue_size"):
            self.queue = LabelledQueue(queue_size, projection_dim, info.num_classes, "random")

    def contrast(self, batch: Batch, kept: Tensor, context: TrainContext) -> tuple[Anchors, Tensor]:
        """Queries and keys of this process's images, with the queue as it was and what it keeps of its entries (K,).

        Then the keys of all processes join it, with what is ``kept`` of each (B,); -1 stands where none was yet. Given
        the queue, anchors are independent: every process has the loss of its own, and their mean is the batch's.
        """
        first, second = batch.views
        queries = self.embed(first)
        self.momentum_encoder.update(self.encoder, self.head)
        keys = self.momentum_encoder(second)
        anchors, before = Anchors(queries, keys, self.queue.rows.clone()), self.queue.labels.clone()
        self.queue.enqueue(context.gather(keys), context.gather(kept))
        return anchors, before

    def draws(self, share: int, epoch: int, step: int, context: TrainContext) -> Tensor:
        """Uniform numbers (positives, share) for this process's images, out of those for the joined batch."""
        generator = context.generator("positives", epoch, step)
        joined = torch.rand(self.positives, share * context.world_size, generator=generator, device=generator.device)
        return joined[:, context.rank * share : (context.rank + 1) * share]

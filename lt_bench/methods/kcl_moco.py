"""KCL for large images: queries of one view against momentum keys of the other and of a long queue."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, get_args

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.kcl_moco import Sampling, k_positive
from lt_bench.methods.moco import MoCo


class KCLMoCo(MoCo):
    """Kang et al., ICLR 2021, as in the code of TSC's authors (Li et al., CVPR 2022); ``positives`` 0 takes all.

    ``sampling`` says how positives are drawn, see ``losses.kcl_moco``. With ``hidden_layers`` 0 the head is one linear
    layer. ``prefill`` fills the queue with keys before the first step, both as in KCL's own code. Further options are
    those of ``MoCo`` and ``SupCon``.
    Deviation: filling, batch norm sees up to 500 images of a process (theirs a batch) and the query's statistics stay.
    Raises SettingError for values out of range.
    """

    labels: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        temperature: float = 0.07,
        sampling: Sampling = "distinct",
        prefill: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, temperature=temperature, base_temperature=temperature, **options)
        if self.positives < 0:
            raise SettingError("positives", "0 or more", self.positives, 6)
        if sampling not in get_args(Sampling):
            raise SettingError("sampling", "distinct, replacement or first", sampling, "distinct")
        self.sampling, self.prefill = sampling, prefill
        self.register_buffer("labels", info.labels.clone(), persistent=False)

    def phase(self, epoch: int) -> Hashable:
        """Nothing where positives are drawn in every step."""
        return None if self.positives and self.sampling != "first" else 0

    @torch.no_grad()
    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Fill the queue before the first epoch, where that is asked for."""
        super().on_epoch_start(epoch, context)
        if epoch == 0 and self.prefill:
            keys = context.embed(self._key_while_training, self.views[1])
            generator = context.generator("prefill")
            order = torch.randperm(len(keys), generator=generator, device=generator.device)
            self.queue.enqueue(keys[order], self.labels[order])

    def _key_while_training(self, images: Tensor) -> Tensor:
        keys: Tensor = self.momentum_encoder.train()(images)
        return keys

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the queries against the queue as it was; then the keys of all ranks join the queue."""
        anchors, queue_labels = self.contrast(batch, batch.labels, context)
        draws = self.draws(len(batch.labels), epoch, step, context)
        return {"loss": k_positive(anchors, batch.labels, queue_labels, draws, self.temperature, self.sampling)}

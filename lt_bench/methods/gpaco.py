"""Generalised parametric contrastive learning: PaCo without a momentum encoder."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.methods.queued import Queued

BatchNormViews = Literal["separate", "joint"]


class OneNetwork(Queued):
    """Both views through the same network and both as anchors; the head has two hidden layers and no batch norm.

    ``bn_views`` separate: every view has batch-norm statistics of its own, as in the authors' code; joint: one forward
    pass of both. Raises SettingError for another word.
    """

    hidden_layers: ClassVar[int] = 2
    batch_norm: ClassVar[bool] = False

    def __init__(
        self, encoder: nn.Module, info: TrainInfo, *, bn_views: BatchNormViews = "separate", **options: Any
    ) -> None:
        super().__init__(encoder, info, **options)
        if bn_views not in ("separate", "joint"):
            raise SettingError("bn_views", "separate or joint", bn_views, "separate")
        self.joint = bn_views == "joint"

    def both_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, 2, C) and unit embeddings (B, 2, D), both with gradient."""
        batches = [torch.cat(batch.views)] if self.joint else batch.views
        features = torch.cat([self.encoder(images) for images in batches])
        logits, embeddings = self.classifier(features), self.head(features)
        return torch.stack(logits.chunk(2), dim=1), torch.stack(embeddings.chunk(2), dim=1)


class GPaCo(OneNetwork):
    """Cui et al., TPAMI 2023, as in the authors' code; the queue holds detached embeddings of second views.

    ``smooth`` is the share of a centre's target weight that goes to the other centres: 0 on long-tailed data, 0.1 on
    full ImageNet. Further options are those of ``Queued`` and ``PaCoSettings``.
    Raises SettingError for values out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        alpha: float = 0.01,
        beta: float = 1.0,
        gamma: float = 1.0,
        supt: float = 1.0,
        smooth: float = 0.0,
        temperature: float = 0.07,
        base_temperature: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, **options)
        self.settings = PaCoSettings(temperature, alpha, base_temperature, beta, gamma, supt, smooth)

    def loss(self, logits: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Parametric contrastive loss of anchors with logits (A, C) within labelled embeddings (n, D), labels (n,)."""
        constants = len(self.queue.rows)
        return paco(logits, embeddings, labels, self.log_prior, self.settings, self.official_epsilon, constants)

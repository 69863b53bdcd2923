"""Parametric contrastive learning: class centres and a queue of labelled embeddings in one softmax."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.methods.queued import Queued
from lt_bench.models.momentum import MomentumEncoder


class PaCo(Queued):
    """Cui et al., ICCV 2021, as in the authors' code: first views are anchors, second views go through a momentum copy.

    Deviation: the copy has no classifier, which theirs averages and never uses; on several processes its batch norm
    sees the joined batch, where theirs shuffles the images among processes.
    Further options are those of ``Queued`` and ``PaCoSettings``. Raises SettingError for values out of range.
    """

    hidden_layers: ClassVar[int] = 1
    batch_norm: ClassVar[bool] = True

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        alpha: float = 0.01,
        beta: float = 1.0,
        gamma: float = 1.0,
        supt: float = 1.0,
        temperature: float = 0.05,
        base_temperature: float | None = None,
        momentum: float = 0.999,
        projection_dim: int = 32,
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, projection_dim=projection_dim, **options)
        self.settings = PaCoSettings(temperature, alpha, base_temperature, beta, gamma, supt)
        self.momentum_encoder = MomentumEncoder(self.encoder, self.head, momentum=momentum)

    def both_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, 1, C) of the first view, embeddings (B, 2, D); the copy follows before it embeds the second."""
        first, second = batch.views
        features = self.encoder(first)
        self.momentum_encoder.update(self.encoder, self.head)
        embeddings = torch.stack([self.head(features), self.momentum_encoder(second)], dim=1)
        return self.classifier(features)[:, None], embeddings

    def loss(self, logits: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Parametric contrastive loss of anchors with logits (A, C) within labelled embeddings (n, D), labels (n,)."""
        constants = len(self.queue.rows)
        return paco(logits, embeddings, labels, self.log_prior, self.settings, self.official_epsilon, constants)

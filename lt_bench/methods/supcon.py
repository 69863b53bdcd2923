"""Supervised contrastive learning: images of one class attract each other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError, renamed
from lt_bench.losses.supcon import supcon
from lt_bench.models.heads import ProjectionHead


class SupCon(Method):
    """Khosla et al., NeurIPS 2020, with the projection head and the joint forward pass of SBCL's authors' code.

    ``projection_hidden`` null makes the head's ``hidden_layers`` as wide as the features.
    """

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        temperature: float = 0.1,
        base_temperature: float = 0.1,
        projection_hidden: int | None = None,
        projection_dim: int = 128,
        hidden_layers: int = 1,
        views: Sequence[View] = ("simclr", "simclr"),
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("base_temperature", base_temperature)):
            if not value > 0:
                raise SettingError(name, "above 0", value, 0.1)
        if len(views) != 2:
            raise SettingError("views", "a list of two views", list(views), "[simclr,simclr]")
        if hidden_layers < 0:
            raise SettingError("hidden_layers", "0 or more", hidden_layers, 1)
        features = feature_dim(encoder)
        self.views = tuple(views)
        self.temperature, self.base_temperature = temperature, base_temperature
        self.encoder = encoder
        hidden = features if projection_hidden is None else projection_hidden
        with renamed(hidden_dim="projection_hidden", out_dim="projection_dim"):
            self.head = ProjectionHead(features, hidden, projection_dim, hidden_layers)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to unit-length embeddings (B, D)."""
        embeddings: Tensor = self.head(self.encoder(images))
        return embeddings

    def embed_views(self, batch: Batch) -> Tensor:
        """All views in one forward pass, so that they share batch-norm statistics; returns (B, V, D)."""
        embeddings = self.embed(torch.cat(batch.views))
        return torch.stack(embeddings.split(len(batch.labels)), dim=1)

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike."""
        return 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """Supervised contrastive loss on the joined batch of all ranks."""
        features, labels = context.gather(self.embed_views(batch)), context.gather(batch.labels)
        return {"loss": supcon(features, labels, self.temperature, self.base_temperature)}

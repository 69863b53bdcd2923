"""SimCLR: two views of an image find each other; the base of all self-supervised methods."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError, renamed
from lt_bench.losses.simclr import nt_xent
from lt_bench.methods.harmonization import Harmonization, HarmonizationSettings
from lt_bench.models.heads import SimCLRHead

ViewBatching = Literal["separate", "joint"]


class SimCLR(Method):
    """Chen et al., ICML 2020, as in the authors' code of GH (Zhou et al., NeurIPS 2023), optionally with GH.

    ``view_batching`` says whether each view passes the encoder by itself, with its own batch-norm statistics, or both
    together. ``projection_hidden`` null makes the head's hidden layers as wide as the features; there is one, and two
    in the authors' code of SDCLR. ``default_weights`` starts the encoder's convolutions from PyTorch's own distribution
    instead of the backbone's. With a ``harmonization``, its loss is added.

    A relative overrides ``embed_views``, ``image_losses`` or ``on_losses``; the loss is that of all ranks' batch.
    Raises SettingError for values out of range.
    """

    self_supervised: ClassVar[bool] = True
    smallest_share: ClassVar[int] = 2  # for the head's batch norm; one image has no contrast

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        temperature: float = 0.2,
        view_batching: ViewBatching = "separate",
        projection_hidden: int | None = None,
        projection_hidden_layers: int = 1,
        projection_dim: int = 128,
        default_weights: bool = False,
        harmonization: HarmonizationSettings | None = None,
        views: Sequence[View] = ("ssl", "ssl"),
    ) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise SettingError("temperature", "positive and finite", temperature, 0.2)
        for name, value in (("projection_hidden", projection_hidden), ("projection_dim", projection_dim)):
            if value is not None and value < 1:
                raise SettingError(name, "at least one output", value, 128)
        if view_batching not in ("separate", "joint"):
            raise SettingError("view_batching", "separate or joint", view_batching, "joint")
        if projection_hidden_layers < 0:
            raise SettingError("projection_hidden_layers", "0 or more", projection_hidden_layers, 1)
        if len(views) != 2:
            usual = "boosted" if self.gives_strength else "ssl"
            raise SettingError("views", "a list of two views", list(views), f"[{usual},{usual}]")
        width = feature_dim(encoder)
        self.views = tuple(views)
        self.temperature, self.view_batching = temperature, view_batching
        self.encoder = encoder
        if default_weights:
            for module in encoder.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()
        self.head = SimCLRHead(width, projection_hidden or width, projection_dim, projection_hidden_layers)
        self.harmonization: Harmonization | None = None
        if harmonization is not None:
            with renamed(target_dim="harmonization.target_dim"):
                self.harmonization = Harmonization(harmonization, len(info.labels), projection_dim)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to embeddings (B, D), not normalised."""
        embeddings: Tensor = self.head(self.encoder(images))
        return embeddings

    def embed_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, D) of the first and of the second view of this rank's images."""
        if self.view_batching == "joint":
            first, second = self.embed(torch.cat(batch.views)).chunk(2)
            return first, second
        return self.embed(batch.views[0]), self.embed(batch.views[1])

    def image_losses(self, first: Tensor, second: Tensor) -> Tensor:
        """The contrastive loss of every image, (B,), from the embeddings (B, D) of all ranks' views."""
        return nt_xent(first, second, self.temperature)

    def on_losses(self, losses: Tensor, indices: Tensor, epoch: int) -> None:
        """Called in every step with all ranks' detached losses (B,) and indices (B,); here nothing is done."""

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Renew what the harmonization knows of the whole training set."""
        if self.harmonization is not None:
            self.harmonization.on_epoch_start(epoch)

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike, but for those of a harmonization."""
        return 0 if self.harmonization is None else self.harmonization.phase(epoch)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The contrastive loss of all ranks' batch, with harmonization the weighted sum of both and its parts."""
        first, second = context.gather(torch.stack(self.embed_views(batch), dim=1)).unbind(1)
        indices = context.gather(batch.indices)
        losses = self.image_losses(first, second)
        self.on_losses(losses.detach(), indices, epoch)
        contrastive = losses.mean()
        if self.harmonization is None:
            return {"loss": contrastive}
        harmonization = self.harmonization(first, second, indices, epoch)
        return {
            "loss": contrastive + self.harmonization.weight(epoch) * harmonization,
            "contrastive": contrastive.detach(),
            "harmonization": harmonization.detach(),
        }

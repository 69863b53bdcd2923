"""What BCL and ProCo share: a classifier trained on one view, beside a contrastive branch on two others."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError, renamed
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.models.heads import NormalizedLinear, ProjectionHead

Classifier = Literal["linear", "cosine"]
COSINE_SCALE = 30.0  # authors' code of BCL


class Branches(NamedTuple):
    """Of all ranks' images: logits of the first view (B, C), unit embeddings of the others (B, 2, D), labels (B,)."""

    logits: Tensor
    embeddings: Tensor
    labels: Tensor


class TwoBranch(Method):
    """Zhu et al., CVPR 2022: encoder, classifier and projection head; ``log_prior`` is that of the training set.

    ``classifier`` is a linear one, or cosine with scale 30; ``projection_hidden`` null makes the head's hidden layer
    as wide as the features. The first view goes to the classifier, the second and third to the contrastive loss.
    Raises SettingError for another number of views, another classifier and a temperature that is not positive.
    """

    provides_classifier: ClassVar[bool] = True
    log_prior: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        views: Sequence[View],
        temperature: float = 0.1,
        classifier: Classifier = "linear",
        projection_hidden: int | None = 512,
        projection_dim: int = 128,
    ) -> None:
        super().__init__()
        if len(views) != 3:
            raise SettingError("views", "a list of three views", list(views), "[crop_flip,simclr,simclr]")
        if classifier not in ("linear", "cosine"):
            raise SettingError("classifier", "linear or cosine", classifier, "linear")
        if not temperature > 0:
            raise SettingError("temperature", "above 0", temperature, 0.1)
        width = feature_dim(encoder)
        self.views = tuple(views)
        self.temperature = temperature
        self.encoder = encoder
        self.classifier: nn.Linear | NormalizedLinear = (
            nn.Linear(width, info.num_classes)
            if classifier == "linear"
            else NormalizedLinear(width, info.num_classes, COSINE_SCALE)
        )
        self.head_sizes = (width, width if projection_hidden is None else projection_hidden, projection_dim)
        self.head = self.new_head()
        self.register_buffer("log_prior", log_prior(info.class_counts).float(), persistent=False)

    def new_head(self) -> ProjectionHead:
        """A fresh projection head with batch norm: features (B, width) to unit embeddings (B, projection_dim)."""
        with renamed(hidden_dim="projection_hidden", out_dim="projection_dim"):
            return ProjectionHead(*self.head_sizes, batch_norm=True)

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike."""
        return 0

    def branches(self, batch: Batch, context: TrainContext) -> Branches:
        """All three views in one forward pass, so that they share batch-norm statistics, also in the head."""
        features = self.encoder(torch.cat(batch.views))
        count = len(batch.labels)
        _, *contrastive = self.head(features).split(count)
        return Branches(
            logits=context.gather(self.classifier(features[:count])),
            embeddings=context.gather(torch.stack(contrastive, dim=1)),
            labels=context.gather(batch.labels),
        )

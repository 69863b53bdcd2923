"""GCL, stage one: cross-entropy of a normalised classifier whose logits of rare classes are clouded by noise."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo
from lt_bench.losses.gaussian_cloud import GaussianClouds
from lt_bench.methods.ce import CE
from lt_bench.models.heads import NormalizedLinear


class GCL(CE):
    """Li et al., CVPR 2022: the classifier gives scale * cosine, at test time without noise and ``margin``.

    ``cloud`` is how far the noise lowers the logits of the smallest class at most, in cosines. It is drawn for the
    joined batch of all processes, and for own and others' labels of mixed images anew. The form of 2024 that moves
    angles in place of cosines (GCLAng) is left out.
    """

    linear_classifier: ClassVar[bool] = False
    normalized_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = False

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        scale: float = 30.0,
        cloud: float = 0.5,
        margin: float = 0.0,
        **common: Any,
    ) -> None:
        self.scale = scale
        super().__init__(encoder, info, **common)
        self.clouds = GaussianClouds(info.class_counts, scale, cloud, margin)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """Scaled cosines."""
        return NormalizedLinear(features, num_classes, self.scale)

    def phase(self, epoch: int) -> Hashable:
        """Every step draws noise."""
        return None

    def loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """Cross-entropy of clouded scaled cosines (B, C) and labels (B,); see ``CE``."""
        return F.cross_entropy(self.clouds(logits, labels), labels, reduction=reduction)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """As ``CE``, with the noise of the step."""
        self.clouds.generator = context.generator("cloud", epoch, step)
        return super().forward(batch, epoch, step, context)

"""Cross-entropy: encoder and linear classifier trained together on the long-tailed data."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, feature_dim
from lt_bench.errors import SettingError


class CE(Method):
    """Plain cross-entropy on one view; the control of every table."""

    provides_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True
    classifier: nn.Linear

    def __init__(self, encoder: nn.Module, info: TrainInfo, *, views: Sequence[str] = ("crop_flip",)) -> None:
        super().__init__()
        if len(views) != 1:
            raise SettingError("views", "a list of one view", list(views), "[crop_flip]")
        self.views = tuple(views)
        self.encoder = encoder
        self.classifier = nn.Linear(feature_dim(encoder), info.num_classes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of logits (B, C) and labels (B,)."""
        return F.cross_entropy(logits, labels)

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike."""
        return 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the first view, and the accuracy on this batch."""
        logits = self.classifier(self.encoder(batch.views[0]))
        accuracy = (logits.detach().argmax(1) == batch.labels).float().mean()
        return {"loss": self.loss(logits, batch.labels), "accuracy": accuracy}

"""Cross-entropy: encoder and linear classifier trained together on the long-tailed data."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError


class CE(Method):
    """Plain cross-entropy on one view; the control of every table, and what methods with one classifier build on.

    A method whose ``loss`` is no mean over independent images sets ``microbatches`` to False, or where only an option
    makes it so, ``joined`` to True: its loss is then that of the joined batch of all processes.
    """

    provides_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True
    classifier: nn.Module

    def __init__(self, encoder: nn.Module, info: TrainInfo, *, views: Sequence[View] = ("crop_flip",)) -> None:
        super().__init__()
        if len(views) != 1:
            raise SettingError("views", "a list of one view", list(views), "[crop_flip]")
        self.views = tuple(views)
        self.joined = not self.microbatches
        self.encoder = encoder
        self.classifier = self.new_classifier(feature_dim(encoder), info.num_classes)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """The classifier, untrained: features (B, D) -> logits (B, C)."""
        return nn.Linear(features, num_classes)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """Mean cross-entropy of logits (B, C) and labels (B,)."""
        return F.cross_entropy(logits, labels)

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike."""
        return 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the first view, and the accuracy on this batch."""
        logits, labels = self.classifier(self.encoder(batch.views[0])), batch.labels
        if self.joined:
            logits, labels = context.gather(logits), context.gather(labels)
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": self.loss(logits, labels, epoch), "accuracy": accuracy}

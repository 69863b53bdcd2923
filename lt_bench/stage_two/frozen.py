"""A classifier on a frozen encoder: what all trained stage-two rules share, and those in closed form."""

from __future__ import annotations

from collections.abc import Hashable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo


class ClassifierOnFrozen(Method):
    """Trains ``classifier`` on the detached features of an encoder that stays in eval mode.

    ``augment`` lets the encoder see cropped and flipped images; without, features are computed once and cached.
    """

    classifier: nn.Module

    def __init__(self, encoder: nn.Module, classifier: nn.Module, augment: bool) -> None:
        super().__init__()
        self.views = ("crop_flip",) if augment else ("features",)
        self.encoder = encoder.requires_grad_(False)
        self.classifier = classifier

    def train(self, mode: bool = True) -> ClassifierOnFrozen:
        """Training mode for the classifier only: the encoder keeps its running batch-norm statistics."""
        super().train(mode)
        self.encoder.eval()
        return self

    def features(self, inputs: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, D); cached features (B, D) pass through."""
        if inputs.ndim == 2:
            return inputs
        with torch.no_grad():
            features: Tensor = self.encoder(inputs)
        return features

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """The rule's loss: logits (B, C), labels (B,) to a scalar."""
        raise TypeError(f"{type(self).__name__} must define loss(logits, labels, epoch)")

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike."""
        return 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The rule's loss on the joined batch of all ranks, and the accuracy on it."""
        logits = context.gather(self.classifier(self.features(batch.views[0])))
        labels = context.gather(batch.labels)
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": self.loss(logits, labels, epoch), "accuracy": accuracy}


class CrossEntropyOnFrozen(ClassifierOnFrozen):
    """Plain cross-entropy: what is balanced, the sampler or the choice of the images balances."""

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """Mean cross-entropy of logits (B, C) under labels (B,)."""
        return F.cross_entropy(logits, labels)


class LabelledOnFrozen(Method):
    """A frozen encoder and the labels (N,) of the training images, for a rule that trains nothing but looks at both."""

    labels: Tensor

    def __init__(self, encoder: nn.Module, info: TrainInfo) -> None:
        super().__init__()
        self.encoder, self.num_classes = encoder.requires_grad_(False), info.num_classes
        self.register_buffer("labels", info.labels, persistent=False)

"""CB: a linear classifier trained again with class-balanced sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Method, Run, TrainInfo, feature_dim
from lt_bench.stage_two.frozen import ClassifierOnFrozen


class _CrossEntropy(ClassifierOnFrozen):
    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        return F.cross_entropy(logits, labels)


@dataclass
class ClassBalanced:
    """Classifier re-training (Kang et al., ICLR 2020, cRT): cross-entropy; the sampler does the balancing."""

    augment: bool = True
    uses_classifier: ClassVar[bool] = False
    needs_linear_classifier: ClassVar[bool] = False

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A fresh linear classifier with PyTorch's initialisation."""
        return _CrossEntropy(encoder, nn.Linear(feature_dim(encoder), info.num_classes), self.augment)

    def finish(self, method: Method, run: Run) -> nn.Module:
        """The trained classifier."""
        assert method.classifier is not None
        return method.classifier

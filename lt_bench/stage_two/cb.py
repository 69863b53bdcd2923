"""CB: a linear classifier trained again with class-balanced sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lt_bench.contracts import Method, StageTwo, TrainInfo, feature_dim
from lt_bench.stage_two.frozen import CrossEntropyOnFrozen


@dataclass
class ClassBalanced(StageTwo):
    """Classifier re-training (Kang et al., ICLR 2020, cRT): cross-entropy; the sampler does the balancing."""

    augment: bool = True
    microbatches: ClassVar[bool] = True

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A fresh linear classifier with PyTorch's initialisation."""
        return CrossEntropyOnFrozen(encoder, nn.Linear(feature_dim(encoder), info.num_classes), self.augment)

"""CB: a linear classifier trained again with class-balanced sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lt_bench.contracts import Method, StageTwo, TrainInfo, feature_dim
from lt_bench.errors import SettingError
from lt_bench.stage_two.frozen import CrossEntropyOnFrozen


@dataclass
class ClassBalanced(StageTwo):
    """Classifier re-training (Kang et al., ICLR 2020, cRT): cross-entropy; the sampler does the balancing.

    The classifier starts as PyTorch makes it, or with ``initial_std`` from normal weights of this standard deviation
    and a bias of 0 (Hou et al., ICCV 2023, authors' code on ImageNet-LT).
    Raises SettingError for an ``initial_std`` that is not positive.
    """

    augment: bool = True
    initial_std: float | None = None
    microbatches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.initial_std is not None and not 0 < self.initial_std < math.inf:
            raise SettingError("initial_std", "null or positive and finite", self.initial_std, 0.01)

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A fresh linear classifier."""
        linear = nn.Linear(feature_dim(encoder), info.num_classes)
        if self.initial_std is not None:
            nn.init.normal_(linear.weight, std=self.initial_std)
            nn.init.zeros_(linear.bias)
        return CrossEntropyOnFrozen(encoder, linear, self.augment)

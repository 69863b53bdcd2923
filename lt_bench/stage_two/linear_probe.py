"""Linear probe: how well the classes of a balanced set can be told apart by a hyperplane in frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from lt_bench.contracts import Method, StageTwo, TrainInfo, feature_dim
from lt_bench.stage_two.frozen import CrossEntropyOnFrozen

TrainSplit = Literal["balanced", "train"]
TrainView = Literal["plain", "crop_flip"]


@dataclass
class LinearProbe(StageTwo):
    """Cross-entropy of one linear layer with bias on raw features (Zhou et al., ICML 2022; NeurIPS 2023; their code).

    The features of the un-augmented training images are computed once; ``train_view`` "crop_flip" crops and flips every
    image before, once (the latter on CIFAR), and ``augment`` anew in every epoch (Jiang et al., ICML 2021). The labels
    are those of ``train_split``: "balanced" is every training image that is not held out, "train" the long-tailed ones.
    """

    augment: bool = False
    train_split: TrainSplit = "balanced"
    train_view: TrainView = "plain"

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A fresh linear classifier with PyTorch's initialisation."""
        return CrossEntropyOnFrozen(encoder, nn.Linear(feature_dim(encoder), info.num_classes), self.augment)

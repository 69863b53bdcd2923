"""k-NN: every image is classified by the votes of the training images whose features point most nearly as its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Method, StageTwo, TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.stage_two.frozen import LabelledOnFrozen
from lt_bench.stage_two.linear_probe import TrainSplit

BLOCK = 65_536  # rows of the bank that are compared at a time: a batch of 500 needs 131 MB for it in single precision


class NearestNeighbours(nn.Module):
    """Log votes of the ``neighbours`` rows of a bank (N, D) that have the largest cosines with a feature, as logits.

    A neighbour votes for its class with exp(cosine / temperature), relative to the nearest one's vote, so that the
    softmax of the logits is every class's share of the votes; a class without any counts as the least positive number.
    ``of`` takes features. What is kept are the rows at unit length and their labels, N x D numbers.
    Source: Wu et al., CVPR 2018, section 3.4.  Deviation: votes are added in double precision, so that on a GPU the
    order of the additions does not show.
    """

    bank: Tensor
    labels: Tensor

    def __init__(
        self, images: int, width: int, num_classes: int, neighbours: int = 200, temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.num_classes, self.neighbours, self.temperature = num_classes, neighbours, temperature
        self.register_buffer("bank", torch.zeros(images, width))
        self.register_buffer("labels", torch.zeros(images, dtype=torch.long))

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int, **settings: Any) -> NearestNeighbours:
        """The bank of features (N, D) with labels (N,), on their device and in their precision."""
        images, width = features.shape
        found = cls(images, width, num_classes, **settings).to(features)
        found.bank.copy_(F.normalize(features, dim=1))
        found.labels.copy_(labels)
        return found

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        images, width = self.bank.shape
        shape = {"images": images, "width": width, "num_classes": self.num_classes}
        rule = {"neighbours": self.neighbours, "temperature": self.temperature}
        return {"_target_": "lt_bench.stage_two.knn.NearestNeighbours", **shape, **rule}

    def nearest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and labels of the neighbours of features (B, D), both (B, k), nearest first; k is at most N."""
        directions = F.normalize(features, dim=1)
        best, rows, known = directions[:, :0], directions[:, :0].long(), 0
        for start in range(0, len(self.bank), BLOCK):
            block = self.bank[start : start + BLOCK]
            cosines = directions @ block.T
            numbers = torch.arange(start, start + len(block), device=rows.device).expand_as(cosines)
            known = min(self.neighbours, known + len(block))
            best, places = torch.cat([best, cosines], 1).topk(known, dim=1)
            rows = torch.cat([rows, numbers], 1).gather(1, places)
        return best, self.labels[rows]

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, D) -> logits (B, C), at least float32."""
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        with torch.autocast(features.device.type, enabled=False):
            cosines, labels = self.nearest(features)
        votes = ((cosines - cosines[:, :1]).double() / self.temperature).exp()
        totals = votes.new_zeros(features.shape[0], self.num_classes).scatter_add_(1, labels, votes)
        return totals.clamp_min(torch.finfo(features.dtype).tiny).log().to(features.dtype)


@dataclass
class NearestNeighbourProbe(StageTwo):
    """Weighted k-NN (Wu et al., CVPR 2018, section 3.4) on un-augmented training images; nothing is trained.

    The images and labels are those of ``train_split``: "balanced" is every training image that is not held out,
    "train" the long-tailed ones. With fewer images than ``neighbours`` all of them vote.
    Raises SettingError for values out of range.
    """

    neighbours: int = 200
    temperature: float = 0.07
    train_split: TrainSplit = "balanced"
    uses_classifier: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise SettingError("neighbours", "at least 1", self.neighbours, 200)
        if not 0 < self.temperature < math.inf:
            raise SettingError("temperature", "positive and finite", self.temperature, 0.07)

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """The frozen encoder and the labels of the images that vote."""
        return LabelledOnFrozen(encoder, info)

    def finish(self, method: Method, context: TrainContext) -> nn.Module:
        """The features of the images that vote, the same on every rank."""
        assert isinstance(method, LabelledOnFrozen)
        settings = {"neighbours": self.neighbours, "temperature": self.temperature}
        return NearestNeighbours.of(context.embed(method.encoder), method.labels, method.num_classes, **settings)

"""Zero-shot: classes are told by features of their names, and nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Method, StageTwo, TrainInfo, feature_dim
from lt_bench.errors import DataError, SettingError, UsageError
from lt_bench.models.text_features import TextFeatures, text_features
from lt_bench.stage_two.none import Untrained


class TextClassifier(nn.Module):
    """``scale`` times the cosine of a projected feature and the text features (C, E) of a class's name.

    ``of`` takes them, and the projection (D, E), from a file.
    Source: Radford et al., ICML 2021 (CLIP).  Deviation: none.
    """

    projection: Tensor
    texts: Tensor

    def __init__(self, width: int, joint: int, num_classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("projection", torch.zeros(width, joint))
        self.register_buffer("texts", torch.zeros(num_classes, joint))

    @classmethod
    def of(cls, given: TextFeatures, scale: float) -> TextClassifier:
        """The classifier of text features of any length."""
        width, joint = given.projection.shape
        found = cls(width, joint, len(given.features), scale)
        found.projection.copy_(given.projection)
        found.texts.copy_(F.normalize(given.features, dim=1))
        return found

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        width, joint = self.projection.shape
        shape = {"width": width, "joint": joint, "num_classes": len(self.texts), "scale": self.scale}
        return {"_target_": "lt_bench.stage_two.zero_shot.TextClassifier", **shape}

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, D) -> logits (B, C) in [-scale, scale]."""
        return self.scale * (F.normalize(features @ self.projection, dim=1) @ self.texts.T)


@dataclass
class ZeroShot(StageTwo):
    """The pretrained encoder with a classifier of text features, of a file that ``models.clip_text.write`` made."""

    text_features: str | None = None

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """The untouched encoder and the classifier.

        Raises UsageError where the encoder is trained, SettingError without a file, DataError for a wrong one.
        """
        if any(parameter.requires_grad for parameter in encoder.parameters()):
            raise UsageError("zero-shot is for an encoder as its weights were, and this is trained; set finetune=head")
        if self.text_features is None:
            raise SettingError("text_features", "a file of lt_bench.models.clip_text.write", None, "FILE")
        given = text_features(self.text_features, info.class_names, info.num_classes, feature_dim(encoder))
        if given.scale is None:
            raise DataError(f"{self.text_features} has no scale, as an older version wrote it; make it anew")
        return Untrained(encoder, TextClassifier.of(given, given.scale))

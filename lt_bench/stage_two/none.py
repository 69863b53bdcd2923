"""No stage two: stage one's own classifier is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lt_bench.contracts import Method, StageTwo, TrainInfo
from lt_bench.errors import UsageError


class Untrained(Method):
    """An encoder and a classifier that stay as they are."""

    def __init__(self, encoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier


@dataclass
class KeepClassifier(StageTwo):
    """The rule that changes nothing."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "segmentation")
    uses_classifier: ClassVar[bool] = True

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """Encoder and classifier of stage one; raises UsageError where there is no classifier."""
        if classifier is None:
            raise UsageError("stage_two=none needs a method that trains a classifier; set stage_two=cb")
        return Untrained(encoder, classifier)

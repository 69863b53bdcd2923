"""What methods of experts have in common: several tails, and on each a classifier, often of scaled cosines."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.methods.ce import CE
from lt_bench.methods.experts import Experts
from lt_bench.models.heads import NormalizedLinear


class OfExperts(CE):
    """A method that is nothing without experts, whose loss is that of all of them, ``experts_loss``.

    Raises SettingError without experts.
    """

    linear_classifier: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ("experts",)

    def __init__(self, encoder: nn.Module, info: TrainInfo, *, experts: Experts | None = None, **common: Any) -> None:
        if experts is None:
            kind = f"{Experts.__module__}.{Experts.__name__}"
            rule = f"given, as the loss of {type(self).__name__} is one of several experts"
            raise SettingError("experts", rule, experts, f"'{{_target_:{kind}}}'")
        super().__init__(encoder, info, experts=experts, **common)


class CosineExperts(OfExperts):
    """Experts that are trained on ``scale`` times cosines.

    The linear classifiers that the authors' code of RIDE, SADE and BalPoE can have, and their recipes have not, are
    left out. Raises SettingError for values out of range, and without experts.
    """

    def __init__(self, encoder: nn.Module, info: TrainInfo, *, scale: float = 30.0, **common: Any) -> None:
        if not 0 < scale < math.inf:
            raise SettingError("scale", "above 0", scale, 30)
        self.scale = scale
        super().__init__(encoder, info, **common)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """Scaled cosines."""
        return NormalizedLinear(features, num_classes, self.scale)

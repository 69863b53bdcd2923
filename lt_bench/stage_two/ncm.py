"""NCM: every image belongs to the class whose mean feature is nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Method, StageTwo, TrainContext, TrainInfo
from lt_bench.errors import DataError
from lt_bench.stage_two.frozen import LabelledOnFrozen

Variant = Literal["raw", "l2", "centered_l2"]


class NearestMean(nn.Module):
    """Minus the squared Euclidean distances to class means (C, D), as logits; ``of`` takes the means of features.

    ``raw`` takes features as they are, ``l2`` at unit length, ``centered_l2`` at unit length after the mean of all
    training features is subtracted; the means themselves are not normalised again.
    Source: Kang et al., ICLR 2020, section 4 (NCM), authors' code.  Deviation: sums are taken in double precision.
    """

    center: Tensor
    means: Tensor

    def __init__(self, width: int, num_classes: int, variant: Variant = "centered_l2") -> None:
        super().__init__()
        self.variant = variant
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("means", torch.zeros(num_classes, width))

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int, variant: Variant = "centered_l2") -> NearestMean:
        """The class means of features (N, D) with labels (N,), on their device and in their precision."""
        found = cls(features.shape[1], num_classes, variant).to(features)
        if variant == "centered_l2":
            found.center.copy_(features.double().mean(0))
        # in double, so that on a GPU the order of the additions does not show in the means
        rows = found.placed(features).double()
        sums = rows.new_zeros(num_classes, rows.shape[1]).index_add_(0, labels, rows)
        found.means.copy_(sums / torch.bincount(labels, minlength=num_classes)[:, None])
        return found

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        classes, width = self.means.shape
        shape = {"width": width, "num_classes": classes, "variant": self.variant}
        return {"_target_": "lt_bench.stage_two.ncm.NearestMean", **shape}

    def placed(self, features: Tensor) -> Tensor:
        """Features (B, D) as the variant compares them, (B, D); a feature of zeros keeps its length."""
        return F.normalize(features - self.center, dim=1) if self.variant != "raw" else features

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, D) -> logits (B, C), at most 0."""
        # differences, not |f|^2 - 2fm + |m|^2, which cancels where features are long and close together
        return -torch.cdist(self.placed(features), self.means, compute_mode="donot_use_mm_for_euclid_dist").square()


@dataclass
class NearestClassMean(StageTwo):
    """Nearest class mean (Kang et al., ICLR 2020, section 4) on un-augmented training images; nothing is trained."""

    variant: Variant = "centered_l2"

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """The frozen encoder and the training labels; raises DataError where a class has no image."""
        empty = torch.nonzero(info.class_counts == 0)[:, 0].tolist()
        if empty:
            found = f"class {', '.join(map(str, empty[:5]))}{', ...' * (len(empty) > 5)}"
            raise DataError(
                f"ncm takes the mean of every class, but {len(empty)} of {info.num_classes} classes ({found}) have no "
                "training image; cut a shorter tail, or hold out fewer images for validation"
            )
        return LabelledOnFrozen(encoder, info)

    def finish(self, method: Method, context: TrainContext) -> nn.Module:
        """The class means of the train split's features, the same on every rank."""
        assert isinstance(method, LabelledOnFrozen)
        return NearestMean.of(context.embed(method.encoder), method.labels, method.num_classes, self.variant)

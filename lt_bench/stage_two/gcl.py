"""GCL, stage two: stage one's normalised classifier goes on under clouded logits, on classes drawn alike."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, StageTwo, TrainContext, TrainInfo
from lt_bench.errors import SettingError, UsageError
from lt_bench.losses.gaussian_cloud import GaussianClouds, detached_focal
from lt_bench.methods.mixing import Mixing, MixUp, loss_and_accuracy
from lt_bench.models.heads import NormalizedLinear
from lt_bench.stage_two.frozen import ClassifierOnFrozen


class _Clouded(ClassifierOnFrozen):
    def __init__(self, encoder: nn.Module, classifier: NormalizedLinear, info: TrainInfo, rule: GCL) -> None:
        super().__init__(encoder, classifier, rule.augment)
        self.clouds = GaussianClouds(info.class_counts, rule.scale, rule.cloud, rule.margin)
        self.mixing = Mixing(MixUp(alpha=rule.mixup_alpha), info) if rule.mixup_alpha else None

    def phase(self, epoch: int) -> Hashable:
        return None  # every step draws noise

    def mixed(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> Batch:
        return batch if self.mixing is None else self.mixing.mixed(batch, epoch, step, context)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        return detached_focal(self.clouds(logits, labels), labels)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        self.clouds.generator = context.generator("cloud", epoch, step)
        rows = (self.classifier(self.features(batch.views[0])), batch.labels, *(batch.mix or ()))
        joined = tuple(context.gather(values) for values in rows)
        return loss_and_accuracy(self.mixing, lambda logits, labels: self.loss(logits, labels, epoch), *joined)


@dataclass
class GCL(StageTwo):
    """Li et al., CVPR 2022: focal weights without gradient on clouded logits; images are mixed as in stage one.

    ``scale``, ``cloud`` and ``margin`` are as in stage one, ``mixup_alpha`` is mixup's alpha, 0 for none. The classes
    are balanced by the sampler. Raises SettingError for values out of range.
    """

    augment: bool = True
    scale: float = 20.0
    cloud: float = 0.5
    margin: float = 0.1
    mixup_alpha: float = 1.0
    uses_classifier: ClassVar[bool] = True
    needs_normalized_classifier: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.mixup_alpha and not self.augment:
            raise SettingError("augment", "true where images are mixed (mixup_alpha above 0)", self.augment, "true")

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A copy of stage one's classifier; raises UsageError where it is not normalised."""
        if not isinstance(classifier, NormalizedLinear):
            found = "none" if classifier is None else f"a {type(classifier).__name__}"
            raise UsageError(
                f"stage_two=gcl needs a normalised classifier (NormalizedLinear) of stage one, and found {found}; "
                "set stage_two=cb (a new linear classifier) or stage_two=ncm (class means)"
            )
        width, classes = classifier.weight.shape
        own = NormalizedLinear(width, classes, self.scale).to(classifier.weight)
        with torch.no_grad():
            own.weight.copy_(classifier.weight)
        return _Clouded(encoder, own, info, self)

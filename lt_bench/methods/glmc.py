"""GLMC: a blend and a cut of the same images, which must agree, under weights of rare classes that grow in time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, Mix, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError
from lt_bench.losses.glmc import mixed_cross_entropy, mutual_similarity, power_weights
from lt_bench.methods.mixing import CutMix, LabelWeight, Mixing, MixUp, mixed_accuracy


class GLMC(Method):
    """Du et al., CVPR 2023: global and local mixture consistency, on two views and a partner batch.

    The first views are blended with those of the partner (mixup), the second ones have a box of it (cutmix, rounded
    up); the share of an image is drawn once for both from Beta(``alpha``, ``alpha``). Partners are drawn with a
    probability proportional to (images of their class)^-``partner_exponent``. ``classifier`` learns with class weights
    (images)^-``weight_exponent``, ``joint_classifier`` without; the part of the former in the loss rises with the
    square of the epochs done, and it alone is evaluated. ``consistency`` weighs the similarity of both mixtures.
    ``label_weight`` says how much of its label an image keeps beside a box: the ``area`` that is left of it or, as in
    the authors' code, the ``share`` that was drawn.
    Source: authors' code.  Deviation: linear layers start as PyTorch makes them, on small images too.
    Raises SettingError for values out of range, DataError for a class without images.
    """

    provides_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True
    classifier: nn.Linear
    weights: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        views: Sequence[View] = ("crop_flip", "crop_flip"),
        alpha: float = 1.0,
        label_weight: LabelWeight = "area",
        partner_exponent: float = 0.0,
        weight_exponent: float = 1.2,
        consistency: float = 4.0,
        projection_dim: int = 128,
    ) -> None:
        super().__init__()
        if len(views) != 2:
            raise SettingError("views", "a list of two views", list(views), "[crop_flip,crop_flip]")
        if not 0 < alpha < math.inf:
            raise SettingError("alpha", "above 0", alpha, 1.0)
        exponents = {"partner_exponent": partner_exponent, "weight_exponent": weight_exponent}
        for name, value in {**exponents, "consistency": consistency}.items():
            if not 0 <= value < math.inf:
                raise SettingError(name, "0 or more", value, 1.0)
        if projection_dim < 1:
            raise SettingError("projection_dim", "at least one output", projection_dim, 128)
        width, classes = feature_dim(encoder), info.num_classes
        self.views, self.epochs, self.consistency = tuple(views), info.epochs, consistency
        self.partner_exponent = partner_exponent
        self.encoder = encoder
        self.classifier, self.joint_classifier = nn.Linear(width, classes), nn.Linear(width, classes)
        self.projection = nn.Linear(width, projection_dim)
        self.prediction = nn.Linear(projection_dim, projection_dim)
        self.mixing = Mixing(MixUp(alpha), info)
        self.kinds = (self.mixing.settings, CutMix(alpha, box="ceil", label_weight=label_weight))
        weights = power_weights(info.class_counts, weight_exponent)
        self.register_buffer("weights", weights, persistent=False)

    def phase(self, epoch: int) -> Hashable:
        """The parts of the loss change from epoch to epoch."""
        return epoch

    def mixed(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> Batch:
        """The first views blended, the second ones cut; ``mix.kept`` is (B, 2), for each view its own."""
        assert batch.partner is not None
        drawn, kept, views = self.mixing.draw(epoch, step, context), list[Tensor](), list[Tensor]()
        for kind, own, other in zip(self.kinds, batch.views, batch.partner.views, strict=True):
            (view,), share = kind.mix((own,), (other,), drawn)
            views.append(view)
            kept.append(torch.full_like(batch.labels, share, dtype=own.dtype))
        mix = Mix(batch.partner.labels, torch.stack(kept, dim=1))
        return Batch(tuple(views), batch.labels, batch.indices, mix=mix)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of both mixtures, which pass the encoder one after the other; the accuracy of ``classifier``."""
        assert batch.mix is not None
        rising = (epoch / self.epochs) ** 2
        features = [self.encoder(view) for view in batch.views]
        projections = [self.projection(one) for one in features]
        predictions = [self.prediction(one) for one in projections]
        similarity = mutual_similarity((predictions[0], predictions[1]), (projections[0], projections[1]))
        terms = [self._errors(*pair, batch) for pair in zip(features, batch.mix.kept.unbind(1), strict=True)]
        joint, balanced, accuracy = torch.stack([torch.stack(of_view) for of_view in terms]).unbind(1)
        loss = (1 - rising) * joint.sum() + rising * balanced.sum() - self.consistency * similarity
        return {"loss": loss, "accuracy": accuracy.mean(), "similarity": similarity.detach()}

    def _errors(self, features: Tensor, kept: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The cross-entropies of both classifiers on a mixture (B, D), and the accuracy of the one with weights."""
        assert batch.mix is not None
        mix = (batch.labels, batch.mix.labels, kept)
        logits, joint = self.classifier(features), mixed_cross_entropy(self.joint_classifier(features), *mix)
        return joint, mixed_cross_entropy(logits, *mix, self.weights), mixed_accuracy(logits, *mix).to(joint.dtype)

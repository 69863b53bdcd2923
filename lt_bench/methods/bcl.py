"""Balanced contrastive learning: class prototypes join every batch, and every class weighs the same in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.losses.bcl import OwnClassDenominator, balanced_contrastive
from lt_bench.losses.logit_adjustment import logit_adjusted_cross_entropy
from lt_bench.losses.reweighted import class_weights
from lt_bench.methods.two_branch import TwoBranch


class BCL(TwoBranch):
    """Zhu et al., CVPR 2022: ``alpha`` times a prior-adjusted cross-entropy plus ``beta`` times a contrastive loss.

    The first view goes to the cross-entropy, the second and third to the balanced contrastive loss. Its prototypes are
    the classifier's class vectors, not normalised, through a head of their own whose batch is the classes.
    ``class_weight_beta`` weighs classes in the cross-entropy by their effective number of images (Cui et al., CVPR
    2019; 0: not at all, as in the authors' runs).
    Further options are those of ``TwoBranch``. Raises SettingError for values out of range.
    """

    replicated: ClassVar[tuple[str, ...]] = ("prototype_head",)
    class_weights: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        alpha: float = 2.0,
        beta: float = 0.6,
        class_weight_beta: float = 0.0,
        own_class_denominator: OwnClassDenominator = "positives",
        views: Sequence[View] = ("autoaugment_cutout", "sim_blur", "sim_blur"),
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, views=views, **options)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise SettingError(name, "0 or more", value, 1.0)
        self.alpha, self.beta = alpha, beta
        self.own_class_denominator = own_class_denominator
        self.prototype_head = self.new_head()
        self.register_buffer("class_weights", class_weights(info.class_counts, class_weight_beta), persistent=False)

    def prototypes(self) -> Tensor:
        """Unit-length prototypes of all classes, (C, projection_dim)."""
        weight = self.classifier.weight
        # a cosine classifier holds its class vectors as columns
        embeddings: Tensor = self.prototype_head(weight if isinstance(self.classifier, nn.Linear) else weight.T)
        return embeddings

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the joined batch of all ranks, its two parts, and the accuracy on the first view."""
        logits, embeddings, labels = self.branches(batch, context)
        cross_entropy = logit_adjusted_cross_entropy(logits, labels, self.log_prior, 1.0, self.class_weights)
        contrastive = balanced_contrastive(
            embeddings, self.prototypes(), labels, self.temperature, self.own_class_denominator
        )
        return {
            "loss": self.alpha * cross_entropy + self.beta * contrastive,
            "cross_entropy": cross_entropy.detach(),
            "contrastive": contrastive.detach(),
            "accuracy": (logits.detach().argmax(1) == labels).float().mean(),
        }

"""Probabilistic contrastive learning: features are compared with distributions of classes, not with a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.geometry.vmf import KappaEstimator, mean_direction_and_kappa, random_means, update_means
from lt_bench.losses.logit_adjustment import logit_adjusted_cross_entropy
from lt_bench.losses.proco import Bessel, contrastive_logits
from lt_bench.methods.two_branch import TwoBranch

Unseen = Literal["random", "masked"]
USED, CURRENT = 0, 1  # the two sets of statistics


class ProCo(TwoBranch):
    """Du et al., TPAMI 2024: a prior-adjusted cross-entropy plus ``alpha`` times that of the contrastive logits.

    Every class is a von Mises-Fisher distribution of embeddings, estimated from two sets of running statistics:
    ``current`` begins anew in every epoch, ``used`` goes on from the whole epoch before and gives the logits. A batch
    joins both before its own logits, the second view after the first. A class without images so far has a random
    direction and competes, or with ``unseen="masked"`` it does not.
    Further options are those of ``TwoBranch``. Raises SettingError for values out of range.
    """

    means: Tensor
    counts: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        alpha: float = 1.0,
        bessel: Bessel = "asymptotic",
        kappa_estimator: KappaEstimator = "code",
        unseen: Unseen = "random",
        projection_dim: int = 128,
        views: Sequence[View] = ("autoaugment_cutout", "sim_wide", "sim_wide"),
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, views=views, projection_dim=projection_dim, **options)
        if not alpha >= 0:
            raise SettingError("alpha", "0 or more", alpha, 1.0)
        if unseen not in ("random", "masked"):
            raise SettingError("unseen", "random or masked", unseen, "random")
        if bessel == "official" and projection_dim % 2:
            raise SettingError("projection_dim", "even with bessel=official", projection_dim, 128)
        self.alpha = alpha
        self.bessel, self.kappa_estimator, self.unseen = bessel, kappa_estimator, unseen
        self.register_buffer("means", random_means(info.num_classes, projection_dim).repeat(2, 1, 1))
        self.register_buffer("counts", torch.zeros(2, info.num_classes))

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """The statistics of the epoch that has ended are used from now on, and new ones begin."""
        for statistics in (self.means, self.counts):
            statistics[USED] = statistics[CURRENT]
        _, num_classes, dim = self.means.shape
        self.means[CURRENT] = random_means(num_classes, dim, context.generator("proco", epoch))
        self.counts[CURRENT] = 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the joined batch of all ranks, its two parts, and the accuracy on the first view."""
        logits, embeddings, labels = self.branches(batch, context)
        cross_entropy = logit_adjusted_cross_entropy(logits, labels, self.log_prior, tau=1.0)
        contrastive = torch.stack([self._contrastive(view, labels) for view in embeddings.unbind(1)]).mean()
        return {
            "loss": cross_entropy + self.alpha * contrastive,
            "cross_entropy": cross_entropy.detach(),
            "contrastive": contrastive.detach(),
            "accuracy": (logits.detach().argmax(1) == labels).float().mean(),
        }

    def _contrastive(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """One view, (B, D), joins the statistics and is then classified by them."""
        update_means(self.means, self.counts, embeddings.detach(), labels)
        directions, kappa = mean_direction_and_kappa(self.means[USED], self.kappa_estimator)
        logits = contrastive_logits(embeddings, directions, kappa, self.temperature, self.bessel)
        if self.unseen == "masked":
            logits = logits.masked_fill(self.counts[USED] == 0, -torch.inf)
        return logit_adjusted_cross_entropy(logits, labels, self.log_prior, tau=1.0)

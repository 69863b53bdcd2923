"""The baseline of generalised PaCo: cross-entropy and a supervised contrastive loss beside each other."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError, renamed
from lt_bench.losses.gpaco_multitask import gpaco_multitask
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.methods.gpaco import OneNetwork


class GPaCoMultiTask(OneNetwork):
    """The multi-task baseline of Cui et al., TPAMI 2023: GPaCo's network, views and queue, ``alpha`` times SupCon.

    A class's contrastive terms are weighted by its effective number of images, ``class_weight_beta`` being the beta of
    Cui et al., CVPR 2019; 0 gives every class the weight 1, which is what the authors' code comes to by a mistake.
    Further options are those of ``Queued``. Raises SettingError for values out of range.
    """

    class_weights: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        alpha: float = 0.5,
        temperature: float = 0.07,
        class_weight_beta: float = 0.999,
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, **options)
        if not alpha >= 0:
            raise SettingError("alpha", "0 or more", alpha, 0.5)
        if not temperature > 0:
            raise SettingError("temperature", "above 0", temperature, 0.07)
        self.alpha, self.temperature = alpha, temperature
        with renamed(beta="class_weight_beta"):
            weights = effective_number_weights(info.class_counts, class_weight_beta)
        self.register_buffer("class_weights", weights.float(), persistent=False)

    def loss(self, logits: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of logits (A, C) and the contrastive loss of the first A of the embeddings (n, D), (n,)."""
        return gpaco_multitask(
            logits,
            embeddings,
            labels,
            self.log_prior,
            self.class_weights,
            self.temperature,
            self.alpha,
            self.official_epsilon,
            len(self.queue.rows),
        )

"""NCL with its contrastive part: each of the networks also tells images apart, by a momentum copy and a queue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError, renamed
from lt_bench.losses.queue import Anchors
from lt_bench.methods.experts import Experts
from lt_bench.methods.ncl import NCL
from lt_bench.models.experts import ExpertHeads, ExpertProjections
from lt_bench.models.heads import ProjectionHead
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.queue import LabelledQueue
from lt_bench.models.stages import start_anew


class NCLMoCo(NCL):
    """Li et al., CVPR 2022: ``NCL`` on the first view, and for every network MoCo between both, without labels.

    A network's projection head has a hidden layer as wide as its features. ``momentum`` is that of the copies, which
    follow after they have embedded the second views. With ``official_keys``, as in the authors' code, the copies start
    from weights of their own, pretrained ones aside; their heads never follow, and the networks follow as many times in
    a step as there are of them.
    Deviation: batch norm sees the joined batch (theirs shuffles the keys among processes).
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    microbatches: ClassVar[bool] = False

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        queue_size: int = 1024,
        projection_dim: int = 64,
        temperature: float = 0.2,
        momentum: float = 0.999,
        contrast_weight: float = 1.0,
        official_keys: bool = False,
        experts: Experts | None = None,
        views: Sequence[View] = ("autoaugment_cutout", "sim_blur"),
        **common: Any,
    ) -> None:
        if len(views) != 2:
            raise SettingError("views", "a list of two views", list(views), "[crop_flip,simclr]")
        if not 0 < temperature < math.inf:
            raise SettingError("temperature", "above 0", temperature, 0.2)
        if not 0 <= contrast_weight < math.inf:
            raise SettingError("contrast_weight", "0 or more", contrast_weight, 1.0)
        super().__init__(encoder, info, experts=experts, views=views[:1], **common)
        assert isinstance(self.classifier, ExpertHeads)
        self.views, self.count = tuple(views), len(self.classifier.heads)
        self.joined = False  # given the queue, images are independent
        self.temperature, self.contrast_weight, self.official_keys = temperature, contrast_weight, official_keys
        width = feature_dim(self.encoder) // self.count
        with renamed(out_dim="projection_dim", size="queue_size"):
            heads = [ProjectionHead(width, width, projection_dim) for _ in range(self.count)]
            self.queue = LabelledQueue(queue_size, self.count * projection_dim, 0, "random", parts=self.count)
        self.head = ExpertProjections(heads)
        momentum = momentum**self.count if official_keys else momentum
        self.momentum_encoder = MomentumEncoder(self.encoder, momentum=momentum)
        self.momentum_head = MomentumEncoder(self.head, momentum=momentum)
        if official_keys:
            self._start_keys(pretrained=experts is not None and experts.copied)

    def _start_keys(self, pretrained: bool) -> None:
        """Give the copies weights of their own, but for ``pretrained`` ones."""
        if not pretrained:
            like = next((part for part in self.encoder.modules() if hasattr(part, "initialisation")), self.encoder)
            start_anew(self.momentum_encoder, like)
        for part in self.momentum_head.modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """As ``NCL``, and the sum over networks of their contrast; then the keys of all processes join the queue."""
        first, second = batch.views
        features = self.encoder(first)
        terms = self.judged(features, batch, epoch, context)
        contrast = self._contrast(self.head(features), self.momentum_head(self.momentum_encoder(second)), context)
        self.momentum_encoder.update(self.encoder)
        if not self.official_keys:
            self.momentum_head.update(self.head)
        loss = terms["loss"] + self.contrast_weight * contrast
        return {**terms, "loss": loss, "contrast": contrast.detach()}

    def _contrast(self, queries: Tensor, keys: Tensor, context: TrainContext) -> Tensor:
        """The mean over images of what all networks lose, of embeddings (B, K, d) and the queue, which then goes on."""
        queue = self.queue.rows.unflatten(1, (self.count, -1)).clone()
        found = Anchors(*(rows.transpose(0, 1) for rows in (queries, keys, queue))).discrimination(self.temperature)
        joined = context.gather(keys.flatten(1))
        self.queue.enqueue(joined, joined.new_full((len(joined),), -1, dtype=torch.int64))
        return found.sum(0).mean()

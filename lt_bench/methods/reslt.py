"""ResLT: branches for medium and tail classes that correct the logits of one for all classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.losses.reslt import class_sets, residual_loss
from lt_bench.methods.ce import CE
from lt_bench.models.branches import BlockBranches, NormBranches
from lt_bench.models.maps import has_maps, spatial_maps

Block = Literal["norm", "pool_first", "block_first"]


class ResLT(CE):
    """Cui et al., TPAMI 2022: one encoder, one linear classifier, and between them a light branch per set of classes.

    The first branch is trained on all classes, each further one on the smallest of them, a ``share`` of their number;
    the prediction is the sum of all logits. ``block`` is what a branch is: a batch norm (CIFAR), or 1 x 1 convolution,
    batch norm and ReLU behind or in front of the pooling (large images), which is always behind it in evaluation, with
    class vectors divided by their length to the power ``norm_exponent`` and without bias. The loss, see
    ``residual_loss``, is that of the joined batch.
    Deviation: classes are ranked by their images in a stable order; further ones are those of ``NormBranches`` and
    ``BlockBranches``. Raises SettingError for values out of range, and for an encoder without maps
    unless they are pooled first.
    """

    provides_classifier: ClassVar[bool] = True
    linear_classifier: ClassVar[bool] = False
    microbatches: ClassVar[bool] = False
    classifier: NormBranches | BlockBranches
    sets: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        branch_weight: float = 0.995,
        shares: Sequence[float] = (0.65, 0.3),
        block: Block = "norm",
        norm_exponent: float = 0.0,
        log_epsilon: float = 0.0,
        fusion_epsilon: bool = False,
        smoothing: float = 0.0,
        views: Sequence[View] = ("crop_flip",),
    ) -> None:
        if block not in ("norm", "pool_first", "block_first"):
            raise SettingError("block", "norm, pool_first or block_first", block, "norm")
        for name, value in (("branch_weight", branch_weight), ("log_epsilon", log_epsilon), ("smoothing", smoothing)):
            if not 0 <= value <= 1:
                raise SettingError(name, "from 0 to 1", value)
        if block != "pool_first" and not has_maps(encoder):
            name = getattr(encoder, "model", type(encoder).__name__)
            rule = f"pool_first with {name}, whose features are no mean of maps that a method maps(images) gives"
            raise SettingError("block", rule, block, "pool_first")
        sets = class_sets(info.class_counts, shares)
        self.block, self.branches, self.norm_exponent = block, len(sets), norm_exponent
        super().__init__(encoder, info, views=views)
        self.register_buffer("sets", sets, persistent=False)
        self.branch_weight, self.smoothing, self.log_epsilon = branch_weight, smoothing, log_epsilon
        self.fusion_log_epsilon = log_epsilon if fusion_epsilon else 0.0

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """The branches and the classifier that they share."""
        if self.block == "norm":
            return NormBranches(features, num_classes, self.branches)
        return BlockBranches(features, num_classes, self.branches, self.norm_exponent, self.block)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the first view with its two parts, and the accuracy on this batch."""
        images = batch.views[0]
        features = self.encoder(images) if self.block == "pool_first" else spatial_maps(self.encoder, images)
        logits, labels = context.gather(self.classifier.branch_logits(features)), context.gather(batch.labels)
        epsilons = self.log_epsilon, self.fusion_log_epsilon
        found = residual_loss(logits, labels, self.sets, self.branch_weight, *epsilons, self.smoothing)
        accuracy = (logits.detach().sum(1).argmax(1) == labels).float().mean()
        parts = {"branch_loss": found.branches.detach(), "fusion_loss": found.fusion.detach()}
        return {"loss": found.loss, **parts, "accuracy": accuracy}

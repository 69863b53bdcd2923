"""Cross-entropy: encoder and linear classifier trained together on the long-tailed data."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from inspect import signature
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError
from lt_bench.methods.experts import Experts
from lt_bench.methods.mixing import Mixing, MixUp, loss_and_accuracy
from lt_bench.models.experts import ExpertHeads


class CE(Method):
    """Plain cross-entropy on one view; the control of every table, and what methods with one classifier build on.

    A method whose ``loss`` is no mean over independent images sets ``microbatches`` to False, or where only an option
    makes it so, ``joined`` to True: its loss is then that of the joined batch of all processes. With a ``mixing``,
    images are mixed, and their loss is that for their own and that for the others' labels, as far as they are kept.
    With ``experts`` the encoder has several last stages with a classifier on each, which share the batch; the loss is
    ``experts_loss``, the prediction the mean of their logits.
    """

    provides_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True
    classifier: nn.Module

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        views: Sequence[View] = ("crop_flip",),
        mixing: MixUp | None = None,
        experts: Experts | None = None,
    ) -> None:
        super().__init__()
        if len(views) != 1:
            raise SettingError("views", "a list of one view", list(views), "[crop_flip]")
        self.views = tuple(views)
        self.joined = not self.microbatches
        self.encoder = encoder if experts is None else experts.applied(encoder)
        self.mixing = None if mixing is None else Mixing(mixing, info)
        self.partner_exponent = None if self.mixing is None else self.mixing.partner_exponent
        if self.mixing is not None and self.mixing.by_image and "reduction" not in signature(self.loss).parameters:
            rule = f"another one, as {type(self).__name__}.loss has no reduction, with which images are weighed"
            raise SettingError("mixing", rule, type(mixing).__name__)
        count = 1 if experts is None else experts.count
        heads = [self.new_classifier(feature_dim(self.encoder) // count, info.num_classes) for _ in range(count)]
        self.classifier = heads[0] if experts is None else ExpertHeads.of(heads)

    def new_classifier(self, features: int, num_classes: int) -> nn.Module:
        """The classifier, untrained: features (B, D) -> logits (B, C)."""
        return nn.Linear(features, num_classes)

    def loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """Cross-entropy of logits (B, C) and labels (B,): the mean, or (B,) with the reduction "none"."""
        return F.cross_entropy(logits, labels, reduction=reduction)

    def experts_loss(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """The sum over experts of their losses, of logits (B, K, C) and labels (B,): scalar, or (B,) as ``loss``.

        So an expert is trained as if it were alone.
        """
        experts = logits.shape[1]
        how = {} if reduction == "mean" else {"reduction": reduction}
        losses = self.loss(logits.flatten(0, 1), labels.repeat_interleave(experts), epoch, **how)
        # all have the same weights, so that the mean of all rows is the mean over experts
        return losses.unflatten(0, (-1, experts)).sum(1) if losses.ndim else experts * losses

    def expert_logits(self, heads: ExpertHeads, features: Tensor) -> Tensor:
        """What ``experts_loss`` is of: the logits (B, K, C) of the features (B, K D) of a step."""
        return heads.expert_logits(features)

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike."""
        return 0

    def needs_partner(self, epoch: int, step: int, context: TrainContext) -> bool:
        """Where images are mixed with those of a partner batch: in the steps that mix."""
        mixing = self.mixing if self.partner_exponent is not None else None
        return mixing is not None and mixing.draw(epoch, step, context).mixed

    def mixed(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> Batch:
        """The batch, mixed if there is a mixing."""
        return batch if self.mixing is None else self.mixing.mixed(batch, epoch, step, context)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss of the first view, and the accuracy on this batch; of mixed images as far as labels are kept."""
        return self.judged(self.encoder(batch.views[0]), batch, epoch, context)

    def judged(self, features: Tensor, batch: Batch, epoch: int, context: TrainContext) -> dict[str, Tensor]:
        """The terms of a step, of the features (B, D) of its images."""
        loss = self.loss
        if isinstance(self.classifier, ExpertHeads):
            logits, loss = self.expert_logits(self.classifier, features), self.experts_loss
        else:
            logits = self.classifier(features)
        rows = (logits, batch.labels, *(batch.mix or ()))
        if self.joined:
            rows = tuple(context.gather(values) for values in rows)
        return loss_and_accuracy(self.mixing, partial(loss, epoch=epoch), *rows)

"""What TSC is in the batch and with a queue: a target on the sphere for every class, which follows its images."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.geometry.assignment import class_means, matched, moved_centres
from lt_bench.geometry.simplex import far_apart
from lt_bench.geometry.targets import searched
from lt_bench.losses.tsc import Normaliser, Targets
from lt_bench.methods.supcon import SupCon

CENTRE_MOMENTUM = 0.9  # authors' code


class Targeted(SupCon):
    """Li et al., CVPR 2022: after ``warm_epochs`` every class has one of as many targets, the nearest by a matching.

    ``assign_every`` null matches at the start of every epoch, a number at every so many steps, for which the host
    waits. ``centres`` says where the running centres of the classes start: "embed" at the mean embeddings of their
    images, "random" anywhere. ``directions`` "spread" has a simplex, or directions that are spread further apart than
    the authors', which "search" finds by their program. A run of one epoch has no warm-up.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs",)
    labels: Tensor
    targets: Tensor
    class_centres: Tensor
    target_of_class: Tensor
    rematched: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        warm_epochs: int = 500,
        target_weight: float = 0.2,
        target_normaliser: Normaliser = "paper",
        centres: Literal["embed", "random"] = "embed",
        assign_every: int | None = None,
        directions: Literal["spread", "search"] = "spread",
        projection_dim: int = 128,
        **options: Any,
    ) -> None:
        super().__init__(encoder, info, projection_dim=projection_dim, **options)
        if warm_epochs < 0:
            raise SettingError("warm_epochs", "0 or more", warm_epochs, 500)
        if not target_weight >= 0:
            raise SettingError("target_weight", "0 or more", target_weight, 0.2)
        if target_normaliser not in ("paper", "code"):
            raise SettingError("target_normaliser", "paper or code", target_normaliser, "paper")
        if centres not in ("embed", "random"):
            raise SettingError("centres", "embed or random", centres, "embed")
        if assign_every is not None and assign_every < 1:
            raise SettingError("assign_every", "1 or more, or null: once in an epoch", assign_every, "null")
        if directions not in ("spread", "search"):
            raise SettingError("directions", "spread or search", directions, "spread")
        self.warm_epochs = warm_epochs if info.epochs > 1 else 0
        self.target_weight, self.normaliser = target_weight, target_normaliser
        self.centres, self.assign_every = centres, assign_every
        find = far_apart if directions == "spread" else searched
        points = find(info.num_classes, projection_dim).float()
        self.register_buffer("labels", info.labels.clone(), persistent=False)
        self.register_buffer("targets", points)
        self.register_buffer("class_centres", F.normalize(torch.randn(points.shape), dim=1))
        self.register_buffer("target_of_class", torch.arange(info.num_classes))
        self.register_buffer("rematched", torch.zeros(()))

    def phase(self, epoch: int) -> Hashable:
        """Nothing where something is drawn or matched in a step; otherwise whether there are targets."""
        late = epoch >= self.warm_epochs
        return None if super().phase(epoch) is None or (late and self.assign_every) else late

    @torch.no_grad()
    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Start the centres where the targets come in, and match once in an epoch where that is asked for."""
        super().on_epoch_start(epoch, context)
        if epoch == self.warm_epochs and self.centres == "embed":
            self.class_centres.copy_(class_means(context.embed(self.embed), self.labels, self.class_centres))
        if epoch >= self.warm_epochs and self.assign_every is None:
            self._match(context)

    @torch.no_grad()
    def follow(self, rows: Tensor, labels: Tensor, step: int, context: TrainContext) -> Targets:
        """The targets after the centres moved to embeddings (n, D) of classes (n,), matched where a step is to."""
        self.class_centres.copy_(moved_centres(self.class_centres, rows, labels, CENTRE_MOMENTUM))
        if self.assign_every is not None and step % self.assign_every == 0:
            self._match(context)
        return Targets(self.targets, self.target_of_class, self.target_weight, self.normaliser)

    def _match(self, context: TrainContext) -> None:
        found = context.from_rank0(lambda: matched(self.class_centres, self.targets))
        self.rematched.copy_((found != self.target_of_class).to(self.rematched.dtype).mean())
        self.target_of_class.copy_(found)

"""The order in which an epoch visits the training images."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.engine.class_aware import ClassAwareOrder
from lt_bench.engine.context import EngineContext
from lt_bench.engine.random import derived_seed
from lt_bench.engine.weighted import WeightedOrder
from lt_bench.errors import SettingError


class EpochOrder:
    """Positions of an epoch on the device: ``shuffle`` visits each image once, ``class_aware`` each class equally.

    An epoch of ``class_aware`` is as long as a balanced set of the largest class, that of ``class_aware_cut`` as long
    as the train split: the stream of images is the same, and goes on in the next epoch. ``balanced`` draws as many
    images with replacement, every class as likely.
    Shapes: labels (N,) int64; a call gives (len,) int64.  Raises ValueError for another sampler.
    """

    def __init__(self, labels: Tensor, sampler: str, context: EngineContext) -> None:
        self.context = context
        self.count = len(labels)
        self.class_aware: ClassAwareOrder | None = None
        self.balanced: WeightedOrder | None = None
        if sampler in ("class_aware", "class_aware_cut"):
            length = len(labels) if sampler == "class_aware_cut" else None
            seed = derived_seed(context.seed, "class_aware")
            self.class_aware = ClassAwareOrder(labels.cpu().numpy(), seed, length=length)
        elif sampler == "balanced":
            self.balanced = WeightedOrder(labels, 1.0, context, "order")
        elif sampler != "shuffle":
            raise SettingError("sampler", "one of shuffle, class_aware, class_aware_cut, balanced", sampler, "shuffle")

    def __len__(self) -> int:
        return self.count if self.class_aware is None else len(self.class_aware)

    def __call__(self, epoch: int) -> Tensor:
        """The positions visited in an epoch, a function of (seed, epoch) alone."""
        if self.class_aware is not None:
            return torch.from_numpy(self.class_aware.epoch(epoch)).to(self.context.device, torch.int64)
        if self.balanced is not None:
            return self.balanced(epoch, self.count)
        generator = self.context.generator("order", epoch)
        return torch.randperm(self.count, generator=generator, device=self.context.device)

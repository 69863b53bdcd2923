"""Mixing: a component of supervised methods that trains on images made of two."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lt_bench.augment.mixing import Box, blend, box_around, kept_share, paste, remix_shares
from lt_bench.contracts import Batch, Mix, TrainContext, TrainInfo
from lt_bench.errors import SettingError

Rounding = Literal["floor", "ceil"]
LabelWeight = Literal["area", "share"]
Views = tuple[Tensor, ...]


class Draw(NamedTuple):
    """What is drawn for the batch of a step: whether it is mixed, the share of its images, and a place in [0, 1)."""

    mixed: bool
    share: float
    row: float
    column: float


@dataclass(frozen=True)
class MixUp:
    """Blends of two images (Zhang et al., ICLR 2018); what every mixing has.

    The share of the first image is drawn from Beta(``alpha``, ``alpha``), once for a batch; ``alpha`` 0 mixes nothing.
    A batch is mixed with ``probability``, from ``start_epoch`` on, but for the ``last_plain_epochs``.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("start_epoch",)
    ends_before: ClassVar[str | None] = "last_plain_epochs"

    alpha: float = 1.0
    probability: float = 1.0
    start_epoch: int = 0
    last_plain_epochs: int = 0

    def __post_init__(self) -> None:
        self._require("alpha", 0 <= self.alpha < math.inf, "0 (nothing is mixed) or more")
        self._require("probability", 0 <= self.probability <= 1, "from 0 to 1")
        self._require("start_epoch", self.start_epoch >= 0, "0 (at once) or more")
        self._require("last_plain_epochs", self.last_plain_epochs >= 0, "0 or more")

    def _require(self, name: str, holds: bool, words: str) -> None:
        if not holds:
            raise SettingError(name, words, getattr(self, name), type(self).__dataclass_fields__[name].default)

    def mix(self, views: Views, others: Views, drawn: Draw) -> tuple[Views, float]:
        """The views (B, 3, H, W) mixed with others, and how much of its label an image keeps."""
        return tuple(blend(*pair, drawn.share) for pair in zip(views, others, strict=True)), drawn.share

    def kept(self, labels: Tensor, others: Tensor, counts: Tensor, share: float) -> Tensor:
        """How much of its label (B,) every image keeps beside another one, (B,) float64; counts (C,)."""
        return torch.full_like(labels, share, dtype=counts.dtype)


@dataclass(frozen=True)
class Remix(MixUp):
    """Blends whose label goes to the rarer class (Chou et al., 2020); its loss is the mean of those of images.

    A class is rarer if the other has ``kappa`` times its images or more, and gets the label where the image of the
    other is less than ``tau`` of the blend. Raises SettingError for values out of range.
    """

    kappa: float = 3.0
    tau: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("kappa", 1 <= self.kappa < math.inf, "1 or more")
        self._require("tau", 0 <= self.tau <= 1, "from 0 to 1")

    def kept(self, labels: Tensor, others: Tensor, counts: Tensor, share: float) -> Tensor:
        """See ``remix_shares``."""
        return remix_shares(labels, others, counts, share, self.kappa, self.tau)


@dataclass(frozen=True)
class CutMix(MixUp):
    """A box of another image (Yun et al., ICCV 2019), whose sides are rounded by ``box``.

    An image keeps its label by the ``area`` that is left of it or, as GLMC's code, by the ``share`` that was drawn.
    Raises SettingError for values out of range.
    """

    box: Rounding = "floor"
    label_weight: LabelWeight = "area"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("box", self.box in ("floor", "ceil"), "floor or ceil")
        self._require("label_weight", self.label_weight in ("area", "share"), "area or share")

    def place(self, height: int, width: int, drawn: Draw) -> Box:
        """The box of a step in images of a size."""
        row, column = int(drawn.row * height), int(drawn.column * width)
        return box_around(height, width, drawn.share, row, column, self.box)

    def mix(self, views: Views, others: Views, drawn: Draw) -> tuple[Views, float]:
        """The views with the box of others."""
        height, width = views[0].shape[-2:]
        box = self.place(height, width, drawn)
        kept = kept_share(box, height, width) if self.label_weight == "area" else drawn.share
        return tuple(paste(*pair, box) for pair in zip(views, others, strict=True)), kept


@dataclass(frozen=True)
class CMO(CutMix):
    """CutMix on the images of a partner batch (Park et al., CVPR 2022).

    Those are drawn with a probability proportional to (images of their class)^-``partner_exponent``.
    Raises SettingError for values out of range.
    """

    partner_exponent: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("partner_exponent", 0 <= self.partner_exponent < math.inf, "0 (every image alike) or more")


class Mixing(nn.Module):
    """The mixing of a training set's batches; what it holds follows from the counts of classes, so its state is empty.

    Processes draw the same for a step, and mix the images of the joined batch.
    """

    counts: Tensor

    def __init__(self, settings: MixUp, info: TrainInfo) -> None:
        super().__init__()
        self.settings, self.end = settings, info.epochs - settings.last_plain_epochs
        self.partner_exponent = settings.partner_exponent if isinstance(settings, CMO) else None
        self.by_image = isinstance(settings, Remix)
        self.register_buffer("counts", info.class_counts.double(), persistent=False)

    def draw(self, epoch: int, step: int, context: TrainContext) -> Draw:
        """The draws of a step, on the host, so that nothing is read from a device."""
        values, settings = np.random.default_rng(context.generator("mix", epoch, step).initial_seed()), self.settings
        chosen = values.random() < settings.probability and settings.alpha > 0
        share = values.beta(settings.alpha, settings.alpha) if settings.alpha > 0 else 1.0
        active = settings.start_epoch <= epoch < self.end
        return Draw(active and chosen, float(share), values.random(), values.random())

    def partners(self, count: int, epoch: int, step: int, context: TrainContext) -> Tensor:
        """For every image of the joined batch the position of another in it, or of itself, (count,)."""
        generator = context.generator("mix partners", epoch, step)
        return torch.randperm(count, generator=generator, device=generator.device)

    @torch.no_grad()
    def _others(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> tuple[Views, Tensor]:
        """The images that this process's are mixed with, and their labels."""
        if batch.partner is not None:
            return batch.partner.views, batch.partner.labels
        share = len(batch.labels)
        mine = self.partners(share * context.world_size, epoch, step, context)[context.rank * share :][:share]
        return tuple(context.gather(view)[mine] for view in batch.views), context.gather(batch.labels)[mine]

    def mixed(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> Batch:
        """The batch as it is trained on; images that are not mixed keep all of their labels."""
        drawn, labels = self.draw(epoch, step, context), batch.labels
        kind = batch.views[0].dtype
        if not drawn.mixed:
            return batch._replace(partner=None, mix=Mix(labels, torch.ones_like(labels, dtype=kind)))
        others, other_labels = self._others(batch, epoch, step, context)
        views, share = self.settings.mix(batch.views, others, drawn)
        kept = self.settings.kept(labels, other_labels, self.counts, share).to(kind)
        return Batch(views, labels, batch.indices, mix=Mix(other_labels, kept))


def loss_and_accuracy(
    mixing: Mixing | None, loss: Callable[..., Tensor], logits: Tensor, labels: Tensor, *mix: Tensor
) -> dict[str, Tensor]:
    """The terms "loss" and "accuracy" of logits (B, C) and labels (B,), of mixed images as far as labels are kept.

    ``mix`` are the others' labels and what is kept of the own (B,): the same for all images, unless the mixing is
    ``by_image``, where ``loss(logits, labels, reduction="none")`` gives the summands of the loss.
    """
    if mixing is None or not mix:
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": loss(logits, labels), "accuracy": accuracy}
    others, kept = mix
    by_image = {"reduction": "none"} if mixing.by_image else {}
    own, other = (loss(logits, those, **by_image) for those in (labels, others))
    share = kept if mixing.by_image else kept[0]
    accuracy = mixed_accuracy(logits, labels, others, kept)
    return {"loss": (share * own + (1 - share) * other).mean(), "accuracy": accuracy}


def mixed_accuracy(logits: Tensor, labels: Tensor, others: Tensor, kept: Tensor) -> Tensor:
    """The accuracy of logits (B, C) on images that keep ``kept`` (B,) of their labels beside those of others (B,)."""
    predicted = logits.detach().argmax(1)
    correct = (predicted == labels).float()
    return (kept * correct + (1 - kept) * (predicted == others)).mean()

"""Mixing: a component of supervised methods that trains on images made of two."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lt_bench.augment.mixing import blend, box_around, kept_share, paste, remix_shares
from lt_bench.contracts import Batch, Mix, TrainContext, TrainInfo
from lt_bench.errors import SettingError

Kind = Literal["mixup", "cutmix", "remix", "cmo"]
Rounding = Literal["floor", "ceil"]
LabelWeight = Literal["area", "share"]


@dataclass(frozen=True)
class MixingSettings:
    """How images are mixed with others of their batch, or with a partner batch (``cmo``).

    ``mixup`` blends two images (Zhang et al., ICLR 2018), ``remix`` as well, and lets the rarer class have the label
    (Chou et al., 2020; ``kappa``: how much rarer, ``tau``: up to which share of the image); ``cutmix`` pastes a box of
    the other image (Yun et al., ICCV 2019); ``cmo`` pastes one of a partner drawn with a probability proportional to
    (images of its class)^-``partner_exponent`` (Park et al., CVPR 2022). The share of the first image is drawn from
    Beta(``alpha``, ``alpha``), once for a batch; ``alpha`` 0 mixes nothing. A batch is mixed with ``probability``, from
    ``start_epoch`` on, but for the ``last_plain_epochs``. With a box, an image keeps its label by the ``area`` that is
    left or, as GLMC's code, by the ``share`` that was drawn.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("start_epoch",)

    kind: Kind
    alpha: float = 1.0
    probability: float = 1.0
    start_epoch: int = 0
    last_plain_epochs: int = 0
    partner_exponent: float = 1.0
    kappa: float = 3.0
    tau: float = 0.5
    box: Rounding = "floor"
    label_weight: LabelWeight = "area"

    def __post_init__(self) -> None:
        self._require("alpha", 0 <= self.alpha < math.inf, "0 (nothing is mixed) or more")
        self._require("probability", 0 <= self.probability <= 1, "from 0 to 1")
        self._require("start_epoch", self.start_epoch >= 0, "0 (at once) or more")
        self._require("last_plain_epochs", self.last_plain_epochs >= 0, "0 or more")
        self._require("partner_exponent", 0 <= self.partner_exponent < math.inf, "0 (every image alike) or more")
        self._require("kappa", 1 <= self.kappa < math.inf, "1 or more")
        self._require("tau", 0 <= self.tau <= 1, "from 0 to 1")
        for name, words in (
            ("kind", ("mixup", "cutmix", "remix", "cmo")),
            ("box", ("floor", "ceil")),
            ("label_weight", ("area", "share")),
        ):
            if getattr(self, name) not in words:
                raise SettingError(name, " or ".join(words), getattr(self, name), words[0])

    def _require(self, name: str, holds: bool, words: str) -> None:
        if not holds:
            raise SettingError(name, words, getattr(self, name), type(self).__dataclass_fields__[name].default)

    @property
    def has_partner(self) -> bool:
        """Whether the other images are those of a partner batch."""
        return self.kind == "cmo"


class Draw(NamedTuple):
    """What is drawn for the batch of a step: whether it is mixed, the share of its images, and a place in [0, 1)."""

    mixed: bool
    share: float
    row: float
    column: float


class Mixing(nn.Module):
    """The mixing of a training set's batches; what it holds follows from the counts of classes, so its state is empty.

    All processes draw the same for a step. Without a partner batch the other images are those of the same process.
    Raises SettingError where no epoch is mixed.
    """

    counts: Tensor

    def __init__(self, settings: MixingSettings, info: TrainInfo) -> None:
        super().__init__()
        self.settings, self.end = settings, info.epochs - settings.last_plain_epochs
        self.register_buffer("counts", info.class_counts.double(), persistent=False)

    def is_mixed(self, epoch: int, step: int, context: TrainContext) -> bool:
        """Whether the batch of a step is mixed."""
        return self.draw(epoch, step, context).mixed

    def draw(self, epoch: int, step: int, context: TrainContext) -> Draw:
        """The draws of a step, on the host, so that nothing is read from a device."""
        values, settings = np.random.default_rng(context.generator("mix", epoch, step).initial_seed()), self.settings
        chosen = values.random() < settings.probability and settings.alpha > 0
        share = values.beta(settings.alpha, settings.alpha) if settings.alpha > 0 else 1.0
        active = settings.start_epoch <= epoch < self.end
        return Draw(active and chosen, float(share), values.random(), values.random())

    def partners(self, count: int, epoch: int, step: int, context: TrainContext) -> Tensor:
        """For every image of this process's batch the position of another in it, or of itself; (B,)."""
        generator = context.generator("mix partners", epoch, step, context.rank)
        return torch.randperm(count, generator=generator, device=generator.device)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> Batch:
        """The batch as it is trained on; what a batch that is not mixed keeps of its labels is 1."""
        drawn = self.draw(epoch, step, context)
        images, labels = batch.views[0], batch.labels
        if not drawn.mixed:
            return batch._replace(mix=Mix(labels, torch.ones_like(images[:, 0].flatten(1)[:, 0])), partner=None)
        if batch.partner is None:
            order = self.partners(len(labels), epoch, step, context)
            others, other_labels = tuple(view[order] for view in batch.views), labels[order]
        else:
            others, other_labels = batch.partner.views, batch.partner.labels
        combine, kept = self._combination(drawn, images)
        views = tuple(combine(view, other) for view, other in zip(batch.views, others, strict=True))
        shares = torch.full((len(labels),), kept, dtype=images.dtype, device=images.device)
        if self.settings.kind == "remix":
            settings = self.settings
            remixed = remix_shares(labels, other_labels, self.counts, drawn.share, settings.kappa, settings.tau)
            shares = remixed.to(images.dtype)
        return Batch(views, labels, batch.indices, mix=Mix(other_labels, shares))

    def _combination(self, drawn: Draw, images: Tensor) -> tuple[Callable[[Tensor, Tensor], Tensor], float]:
        """How images are combined with others, and how much of its label an image keeps."""
        if self.settings.kind in ("mixup", "remix"):
            return lambda image, other: blend(image, other, drawn.share), drawn.share
        height, width = images.shape[-2:]
        row, column = int(drawn.row * height), int(drawn.column * width)
        box = box_around(height, width, drawn.share, row, column, self.settings.box)
        kept = kept_share(box, height, width) if self.settings.label_weight == "area" else drawn.share
        return lambda image, other: paste(image, other, box), kept

"""Cross-entropy of every pixel: encoder and FCN head trained together, the control of methods for scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError
from lt_bench.losses.segmentation_ce import pixel_loss
from lt_bench.models.fcn import FCN, Auxiliary
from lt_bench.models.maps import enlarged, has_maps, stage_maps


class Dropout(NamedTuple):
    """Dropout of one step, the same on the joined batch of any number of processes."""

    share: float
    context: TrainContext
    epoch: int
    step: int

    def __call__(self, rows: Tensor, name: str, everywhere: bool = False) -> Tensor:
        """A process's rows (B, D, ...) with values set to 0, of maps (B, D, h, w) whole channels, the others enlarged.

        ``everywhere``: all processes have the same rows, which lose the same values.
        """
        if not self.share:
            return rows
        ranks, first = (1, 0) if everywhere else (self.context.world_size, self.context.rank * len(rows))
        shape = rows.shape[:2] if rows.ndim == 4 else rows.shape
        generator = self.context.generator(f"dropout of {name}", self.epoch, self.step)
        drawn = torch.rand((ranks * shape[0], *shape[1:]), generator=generator, device=generator.device)
        kept = (drawn[first : first + len(rows)] >= self.share).to(rows.dtype) / (1 - self.share)
        return rows * (kept[:, :, None, None] if rows.ndim == 4 else kept)


class SegmentationCE(Method):
    """Cross-entropy of pixels with an FCN head of some ``channels``, averaged over the labelled pixels of the batch.

    Encoders of several stages have an auxiliary head on the last but one, whose loss counts ``auxiliary_weight``; it is
    not evaluated. ``dropout`` is of whole channels of the last features. ``ignored_in_mean`` divides by all pixels,
    "official" where the authors' code does so.
    Source: Long et al., CVPR 2015, in MMSegmentation's recipe.  Deviation: the mean is over the joined batch.
    """

    task: ClassVar[str] = "segmentation"
    provides_classifier: ClassVar[bool] = True
    linear_classifier: ClassVar[bool] = False
    classifier: FCN

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        views: Sequence[View] = ("crop_flip",),
        channels: int = 512,
        dropout: float = 0.1,
        auxiliary_weight: float = 0.4,
        auxiliary_channels: int = 256,
        ignored_in_mean: bool | Literal["official"] = False,
    ) -> None:
        super().__init__()
        if len(views) != 1:
            raise SettingError("views", "a list of one view", list(views), "[crop_flip]")
        if channels < 1 or auxiliary_channels < 1:
            raise SettingError("channels", "at least 1", min(channels, auxiliary_channels), 512)
        if not 0 <= dropout < 1:
            raise SettingError("dropout", "at least 0 and below 1", dropout, 0.1)
        if auxiliary_weight < 0:
            raise SettingError("auxiliary_weight", "0 or more", auxiliary_weight, 0.4)
        if not has_maps(encoder):
            raise SettingError("channels", "for encoders with maps, such as backbone=resnet50", type(encoder).__name__)
        self.views, self.encoder, self.num_classes = tuple(views), encoder, info.num_classes
        if not isinstance(ignored_in_mean, bool) and ignored_in_mean != "official":
            raise SettingError("ignored_in_mean", "true, false or official", ignored_in_mean, "false")
        self.dropout, self.auxiliary_weight, self.ignored_in_mean = dropout, auxiliary_weight, ignored_in_mean
        width = feature_dim(encoder)
        self.classifier = self.new_head(width, channels, info.num_classes)
        several = hasattr(encoder, "layer3") and auxiliary_weight > 0
        self.auxiliary = Auxiliary(width // 2, auxiliary_channels, info.num_classes) if several else None

    def new_head(self, width: int, channels: int, num_classes: int) -> FCN:
        """The head, untrained."""
        return FCN(width, channels, num_classes)

    def losses(
        self, features: Tensor, logits: Tensor, mask: Tensor, drop: Dropout, context: TrainContext
    ) -> dict[str, Tensor]:
        """The weighted terms of the loss of features (B, D, h, w), logits (B, C, h, w) and a mask (B, H, W)."""
        return {"loss_pixel": self.pixel_loss(logits, mask, context)}

    def pixel_loss(self, logits: Tensor, mask: Tensor, context: TrainContext) -> Tensor:
        """Cross-entropy of logits (B, C, h, w), enlarged to a mask (B, H, W)."""
        return pixel_loss(enlarged(logits, mask.shape), mask, context.gather, bool(self.ignored_in_mean))

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The sum of ``losses`` and of the auxiliary head's, of the joined batch of all processes."""
        drop = Dropout(self.dropout, context, epoch, step)
        maps = stage_maps(self.encoder, batch.views[0])
        features = self.classifier.features(maps[-1])
        logits = self.classifier.conv_seg(drop(features, "features"))
        terms = self.losses(features, logits, batch.labels, drop, context)
        if self.auxiliary is not None:
            earlier = self.auxiliary.conv_seg(drop(self.auxiliary.block(maps[-2]), "auxiliary features"))
            terms["loss_auxiliary"] = self.auxiliary_weight * self.pixel_loss(earlier, batch.labels, context)
        loss = torch.stack([term for name, term in terms.items() if name.startswith("loss")]).sum()
        return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}

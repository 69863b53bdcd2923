"""Region Rebalance: the features of pixels also classify regions, by how many images have each class."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_bench.contracts import TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.region_rebalance import log_prior, region_loss, region_rebalance
from lt_bench.methods.segmentation_ce import Dropout, SegmentationCE
from lt_bench.models.fcn import FCN, RegionBranch, TwoPassFCN
from lt_bench.models.regions import class_means


class RegionRebalance(SegmentationCE):
    """``SegmentationCE`` and, in training, a branch that classifies the mean feature of each class in the batch.

    The logarithm of the share of images with a class is added to the branch's logits (``prior``), ``smooth`` is the
    weight of the label, and the loss counts ``region_weight``. With a ``second_pass`` a branch groups pixels by their
    predictions too, and adds what it says to all pixels of the image, also where they are evaluated; pixels have three
    losses then, which count ``main_weight`` each, and ``negatives`` says whether the regions of classes that the image
    does not have are trained. ``train_branch`` is whether the branch learns: null is true with a second pass and false
    without, as in the authors' code.
    Source: Cui et al., arXiv 2204.01969, authors' code; the paper's body was not available.  Deviation: regions are
    those of the joined batch of all processes, and ``negatives`` and ``prior`` are what their names say.
    """

    linear_classifier: ClassVar[bool] = False
    prior: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        second_pass: bool = False,
        region_weight: float = 1.0,
        main_weight: float = 1.0,
        smooth: float = 0.5,
        prior: bool = True,
        negatives: bool = True,
        train_branch: bool | None = None,
        **others: Any,
    ) -> None:
        if region_weight < 0 or main_weight < 0:
            raise SettingError("region_weight", "0 or more, as main_weight is", min(region_weight, main_weight), 1.0)
        if not 0 < smooth <= 1:
            raise SettingError("smooth", "above 0 and at most 1", smooth, 0.5)
        self.second_pass = second_pass
        super().__init__(encoder, info, **others)
        self.region_weight, self.main_weight = region_weight, main_weight
        self.smooth, self.negatives = smooth, negatives
        self.register_buffer("prior", log_prior(info.class_counts) if prior else None, persistent=False)
        channels = self.classifier.conv_seg.in_channels
        self.regions = None if second_pass else RegionBranch(channels, info.num_classes)
        branch = self.classifier.branch if isinstance(self.classifier, TwoPassFCN) else self.regions
        assert branch is not None
        branch.requires_grad_(second_pass if train_branch is None else train_branch)

    def new_head(self, width: int, channels: int, num_classes: int) -> FCN:
        """The head, untrained; with a second pass the branch is a part of it."""
        return (TwoPassFCN if self.second_pass else FCN)(width, channels, num_classes)

    def losses(
        self, features: Tensor, logits: Tensor, mask: Tensor, drop: Dropout, context: TrainContext
    ) -> dict[str, Tensor]:
        """The weighted terms: of pixels as they are and, with a second pass, biased and masked, and of regions."""
        if self.regions is None:
            return self._two_passes(features, logits, mask, drop, context)
        means, occurs = class_means(self.regions.reduction(features), mask, self.num_classes, context.gather)
        said = self.regions.classifier(drop(self.regions.hidden(means), "regions", everywhere=True))
        labels = torch.arange(self.num_classes, device=mask.device)
        regions = region_loss(said, labels, occurs, self.prior, self.smooth)
        pixels = super().losses(features, logits, mask, drop, context)
        return {**pixels, "loss_region": self.region_weight * regions, "regions": occurs.sum().float()}

    def _two_passes(
        self, features: Tensor, logits: Tensor, mask: Tensor, drop: Dropout, context: TrainContext
    ) -> dict[str, Tensor]:
        assert isinstance(self.classifier, TwoPassFCN)
        hidden, relu, classify = self.classifier.branch

        def branch(regions: Tensor) -> Tensor:
            joint = regions.ndim == 2  # of all images of all processes
            name = "true regions" if joint else "predicted regions"
            said: Tensor = classify(drop(relu(hidden(regions)), name, everywhere=joint))
            return said

        terms = region_rebalance(
            features,
            logits,
            mask,
            branch,
            self.prior,
            smooth=self.smooth,
            negatives=self.negatives,
            gather=context.gather,
            ignored_in_mean=self.ignored_in_mean,
        )
        weights = {"pixel": self.main_weight, "region": self.region_weight}
        return {name: weights[name.split("_")[1]] * term for name, term in terms.items()}

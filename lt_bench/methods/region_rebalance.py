"""Region Rebalance: the features of pixels also classify regions, by how many images have each class."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from lt_bench.contracts import TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.region_rebalance import log_prior, pooled_region_loss, region_rebalance
from lt_bench.methods.segmentation_ce import Dropout, SegmentationCE
from lt_bench.models.fcn import FCN, RegionBranch, TwoPassFCN
from lt_bench.models.regions import Pools, Resolution, true_regions


class RegionRebalance(SegmentationCE):
    """``SegmentationCE`` and, in training, a branch that classifies the mean feature of each class in the batch.

    The logarithm of the share of images with a class is added to the branch's logits (``prior``), ``smooth`` is the
    weight of the label, and the loss counts ``region_weight``. With a ``second_pass`` a branch groups pixels by their
    predictions too, and adds what it says to all pixels of the image, also where they are evaluated; pixels have three
    losses then, which count ``main_weight`` each, ``negatives`` says whether the regions of classes that the image
    does not have are trained, ``negative_weight`` how much they count, and the logarithm of ``extra_prior`` is added
    for their class. ``train_branch`` is whether the branch learns: null is true with a second pass and false without,
    as in the authors' code. ``region_scope`` says whether regions are of the whole batch or of each image, and
    ``region_group`` of how many images of the batch together, the loss being the mean over such groups.
    ``region_resolution`` is where pixels are averaged: "feature" as the places of the maps, with masks reduced to
    these, "image" as they are, with enlarged maps; null is feature with a second pass and image without.
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
        region_scope: Literal["batch", "image"] = "batch",
        region_group: int | None = None,
        region_resolution: Literal["feature", "image"] | None = None,
        negative_weight: float = 1.0,
        extra_prior: float = 1.0,
        **others: Any,
    ) -> None:
        if region_weight < 0 or main_weight < 0:
            raise SettingError("region_weight", "0 or more, as main_weight is", min(region_weight, main_weight), 1.0)
        if not 0 < smooth <= 1:
            raise SettingError("smooth", "above 0 and at most 1", smooth, 0.5)
        if region_scope not in ("batch", "image"):
            raise SettingError("region_scope", "batch or image", region_scope, "batch")
        if region_group is not None and (region_group < 2 or region_scope == "image"):
            rule = "2 or more images of region_scope=batch; region_scope=image is each alone, null all"
            raise SettingError("region_group", rule, region_group, "null")
        if region_resolution not in (None, "feature", "image"):
            raise SettingError("region_resolution", "feature, image or null", region_resolution, "null")
        if not negative_weight > 0 or (negative_weight != 1 and not (second_pass and negatives)):
            rule = "above 0, and for second_pass=true with negatives=true, whose regions it weighs; else 1"
            raise SettingError("negative_weight", rule, negative_weight, 1.0)
        if not extra_prior > 0 or (extra_prior != 1 and not (second_pass and prior)):
            rule = "above 0, and for second_pass=true with prior=true, which has the class that it is for; else 1"
            raise SettingError("extra_prior", rule, extra_prior, 1.0)
        self.second_pass = second_pass
        super().__init__(encoder, info, **others)
        self.region_weight, self.main_weight = region_weight, main_weight
        self.smooth, self.extra_prior = smooth, extra_prior
        self.negative_weight = negative_weight if negatives else 0.0
        self.pooled_images = 1 if region_scope == "image" else region_group
        self.resolution: Resolution = region_resolution or ("feature" if second_pass else "image")
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
        means, occurs = true_regions(
            self.regions.reduction(features),
            mask,
            self.num_classes,
            self._pools(context),
            resolution=self.resolution,
            ignored=False,
        )
        hidden = drop(self.regions.hidden(means.flatten(0, 1)), "regions", everywhere=True)
        said = self.regions.classifier(hidden).unflatten(0, occurs.shape)
        regions = pooled_region_loss(said, occurs, self.prior, self.smooth)
        pixels = super().losses(features, logits, mask, drop, context)
        return {**pixels, "loss_region": self.region_weight * regions, "regions": occurs.sum().float()}

    def _pools(self, context: TrainContext) -> Pools:
        return Pools(self.pooled_images, context.rank, context.world_size, context.gather)

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
            negative_weight=self.negative_weight,
            extra_prior=self.extra_prior,
            pools=self._pools(context),
            resolution=self.resolution,
            ignored_in_mean=self.ignored_in_mean is True,  # not in rr.py
        )
        regions = terms.pop("regions")
        weights = {"pixel": self.main_weight, "region": self.region_weight}
        return {name: weights[name.split("_")[1]] * term for name, term in terms.items()} | {"regions": regions}

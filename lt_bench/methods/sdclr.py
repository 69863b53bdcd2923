"""SDCLR: the second view passes a pruned copy of the network, which forgets the rare images first."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo
from lt_bench.errors import SettingError, UsageError, renamed
from lt_bench.geometry.pruning import check_fractions, magnitude_masks
from lt_bench.methods.simclr import SimCLR
from lt_bench.models.convolutions import LEAST_SHARE, convolution_share
from lt_bench.models.input_normalization import InputNormalization
from lt_bench.models.pruned import PrunedBranch, PrunedEncoder

BatchNormUpdates = Literal[1, 2]
Branch = Literal["dense", "pruned"]


class SDCLR(SimCLR):
    """Jiang et al., ICML 2021: ``SimCLR`` with its options, where the second view is embedded by a pruned branch.

    At the start of every epoch the smallest ``prune_percent`` of the convolutions' weights, in absolute value over the
    whole encoder, are masked in the pruned branch; ``random_prune_percent`` of them, a part of the same, are drawn by
    chance instead. The dense branch is ``encoder`` and ``head``, and keeps and trains all weights.
    Deviation: one backward pass for both views, where the authors' code makes two with the other view held constant;
    the gradient is the same. Theirs passes the second view twice, so that the averages of the pruned batch norms move
    twice per step: ``pruned_bn_updates=2``. GH's authors' code normalises the images of SDCLR a second time, with
    ImageNet's mean and deviation: ``double_normalisation``. While training it evaluates the pruned branch, of which its
    CIFAR figures may be: ``evaluated_branch``.
    Raises SettingError for values out of range and both views in one pass, UsageError for an encoder that has
    little of its weights in convolutions.
    """

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        prune_percent: float = 0.9,
        random_prune_percent: float = 0.0,
        pruned_bn_updates: BatchNormUpdates = 1,
        double_normalisation: bool = False,
        evaluated_branch: Branch = "dense",
        **options: Any,
    ) -> None:
        super().__init__(InputNormalization(encoder) if double_normalisation else encoder, info, **options)
        with renamed(fraction="prune_percent", random_fraction="random_prune_percent"):
            check_fractions(prune_percent, random_prune_percent)
        if pruned_bn_updates not in (1, 2):
            raise SettingError("pruned_bn_updates", "1 or 2", pruned_bn_updates, 1)
        if evaluated_branch not in ("dense", "pruned"):
            raise SettingError("evaluated_branch", "dense or pruned", evaluated_branch, "dense")
        if self.view_batching != "separate":
            rule = "separate, because each view has a branch of its own"
            raise SettingError("view_batching", rule, self.view_batching, "separate")
        self.prune_percent, self.random_prune_percent = prune_percent, random_prune_percent
        self.pruned_bn_updates, self.evaluated_branch = pruned_bn_updates, evaluated_branch
        if (share := convolution_share(self.encoder)) < LEAST_SHARE:
            how = f"has {100 * share:.2g} % of its weights in them" if share else "has none"
            raise UsageError(f"convolutions are pruned and this encoder {how}; set backbone=resnet18_cifar")
        self.pruned_encoder, self.pruned_head = PrunedBranch(self.encoder), PrunedBranch(self.head)

    def evaluated_encoder(self) -> nn.Module:
        """The dense branch, or the pruned one with the masks of the last epoch."""
        return self.encoder if self.evaluated_branch == "dense" else PrunedEncoder(self.encoder, self.pruned_encoder)

    def embed_pruned(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to embeddings (B, D) of the pruned branch, not normalised."""
        return self.pruned_head(self.head, self.pruned_encoder(self.encoder, images))

    def embed_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, D) of the first view by the dense branch, and of the second by the pruned one."""
        first, second = batch.views
        for _ in range(self.pruned_bn_updates - 1):
            with torch.no_grad():  # only the running averages of the pruned branch remember it
                self.embed_pruned(second)
        return self.embed(first), self.embed_pruned(second)

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """New masks from the weights as they are, the same on all ranks."""
        super().on_epoch_start(epoch, context)
        weights, draws = self.pruned_encoder.weights(self.encoder), None
        if self.random_prune_percent > 0:
            generator = context.generator("prune", epoch)
            draws = [torch.rand(weight.shape, generator=generator, device=weight.device) for weight in weights]
        masks = magnitude_masks(weights, self.prune_percent, self.random_prune_percent, draws)
        self.pruned_encoder.set_masks(masks)

"""Light branches between an encoder and one shared linear classifier, whose logits are summed (ResLT)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.named import branch_name

BlockOrder = Literal["pool_first", "block_first"]


def by_branch(logits: Tensor) -> dict[str, Tensor]:
    """The logits (B, C) of every branch by name, branch0, branch1, ..., of those of all (B, K, C)."""
    return {branch_name(number): one for number, one in enumerate(logits.unbind(1))}


class NormBranches(nn.Module):
    """Branches that are a batch norm each: features (B, D) or maps (B, D, H, W) -> logits (B, C), summed.

    Maps are normalised, then pooled, scaled and shifted for each branch; where statistics are running ones, features
    that were pooled before give the same.
    Source: Cui et al., TPAMI 2022, authors' code on CIFAR.  Deviation: their batch norms see the same maps, so that one
    has the statistics of all.
    """

    def __init__(self, features: int, num_classes: int, branches: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.weight = nn.Parameter(torch.ones(branches, features))
        self.bias = nn.Parameter(torch.zeros(branches, features))
        self.linear = nn.Linear(features, num_classes)

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        branches, features = self.weight.shape
        shape = {"features": features, "num_classes": self.linear.out_features, "branches": branches}
        return {"_target_": "lt_bench.models.branches.NormBranches", **shape}

    def branch_logits(self, features: Tensor) -> Tensor:
        """Logits of every branch, (B, K, C)."""
        normalised = self.norm(_as_maps(features)).mean(dim=(2, 3))
        logits: Tensor = self.linear(normalised[:, None] * self.weight + self.bias)
        return logits

    def named_logits(self, features: Tensor) -> dict[str, Tensor]:
        """As ``by_branch`` of the logits of every branch, for what is stored beside their sum."""
        return by_branch(self.branch_logits(features))

    def forward(self, features: Tensor) -> Tensor:
        """The sum of the logits of all branches, which has the bias once for each of them."""
        return self.branch_logits(features).sum(1)


class BlockBranches(nn.Module):
    """Branches of 1 x 1 convolution, batch norm and ReLU: features (B, D) or maps (B, D, H, W) -> summed logits (B, C).

    In training maps are pooled behind the block with ``order`` block_first, else in front of it. In evaluation features
    come pooled, class vectors are divided by their length to the power ``norm_exponent``, and there is no bias.
    Source: Cui et al., TPAMI 2022, authors' code on large images.  Deviation: no more channels than branches use;
    theirs has three branches on iNaturalist, where two are used.
    Raises SettingError for values out of range.
    """

    def __init__(
        self,
        features: int,
        num_classes: int,
        branches: int,
        norm_exponent: float = 0.0,
        order: BlockOrder = "block_first",
    ) -> None:
        super().__init__()
        if not 0 <= norm_exponent <= 1:
            raise SettingError("norm_exponent", "from 0 to 1", norm_exponent, 0.7)
        self.branches, self.norm_exponent, self.order = branches, norm_exponent, order
        self.convolution = nn.Conv2d(features, branches * features, 1, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(branches * features)
        self.linear = nn.Linear(features, num_classes)

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        return {
            "_target_": "lt_bench.models.branches.BlockBranches",
            "features": self.linear.in_features,
            "num_classes": self.linear.out_features,
            "branches": self.branches,
            "norm_exponent": self.norm_exponent,
            "order": self.order,
        }

    def branch_logits(self, features: Tensor) -> Tensor:
        """Logits of every branch, (B, K, C)."""
        maps = _as_maps(features)
        if self.order == "pool_first" or not self.training:
            maps = maps.mean(dim=(2, 3), keepdim=True)
        out = self.norm(self.convolution(maps)).relu().mean(dim=(2, 3)).unflatten(1, (self.branches, -1))
        if self.training:
            logits: Tensor = self.linear(out)
            return logits
        weight = self.linear.weight
        return nn.functional.linear(out, weight / weight.norm(dim=1, keepdim=True) ** self.norm_exponent)

    def named_logits(self, features: Tensor) -> dict[str, Tensor]:
        """As ``by_branch`` of the logits of every branch, for what is stored beside their sum."""
        return by_branch(self.branch_logits(features))

    def forward(self, features: Tensor) -> Tensor:
        """The sum of the logits of all branches."""
        return self.branch_logits(features).sum(1)


def _as_maps(features: Tensor) -> Tensor:
    """Maps (B, D, H, W); pooled features (B, D) are maps of one pixel."""
    return features if features.ndim == 4 else features[..., None, None]

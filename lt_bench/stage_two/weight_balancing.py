"""Weight balancing: stage one's linear classifier trained on with weight decay, its rows inside a ball (MaxNorm)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Method, StageTwo, TrainContext, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.losses.weight_balancing import balanced_binary_cross_entropy
from lt_bench.stage_two.frozen import ClassifierOnFrozen
from lt_bench.stage_two.linear import linear_of_stage_one


def max_norm_radius(weight: Tensor, threshold: float) -> Tensor:
    """The norm at ``threshold`` of the way from the least to the largest norm of rows (C, D), a scalar."""
    norms = weight.detach().norm(dim=1)
    return norms.min() + threshold * (norms.max() - norms.min())


class MaxNormLinear(nn.Module):
    """A linear layer whose rows beyond ``radius`` count as rows of that norm in eval mode; the bias is left alone.

    In training they count as they are, and ``project`` shortens them. A ``radius`` of None leaves all as they are.
    """

    radius: Tensor | None

    def __init__(self, linear: nn.Linear, radius: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().clone())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())
        self.register_buffer("radius", radius, persistent=False)

    def inside(self) -> Tensor:
        """The rows (C, D), those beyond the radius shortened to it."""
        if self.radius is None:
            return self.weight
        norms = self.weight.norm(dim=1, keepdim=True)
        return torch.where(norms > self.radius, self.weight * (self.radius / norms), self.weight)

    @torch.no_grad()
    def project(self) -> None:
        """Shorten the rows beyond the radius."""
        self.weight.copy_(self.inside())

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: features (B, D) -> logits (B, C)."""
        return F.linear(features, self.weight if self.training else self.inside(), self.bias)


class _Balanced(ClassifierOnFrozen):
    classifier: MaxNormLinear
    weights: Tensor

    def __init__(self, encoder: nn.Module, classifier: MaxNormLinear, info: TrainInfo, rule: WeightBalancing) -> None:
        super().__init__(encoder, classifier, rule.augment)
        weights = effective_number_weights(info.class_counts, rule.beta)
        self.register_buffer("weights", weights.float(), persistent=False)

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Rows are shortened after every epoch: here after the one before, in ``finish`` after the last."""
        if epoch > 0:
            self.classifier.project()

    def loss(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        return balanced_binary_cross_entropy(logits, labels, self.weights)


@dataclass
class WeightBalancing(StageTwo):
    """Alshammari et al., CVPR 2022: weight decay and MaxNorm by projection, under a class-balanced loss.

    MaxNorm's radius lies ``threshold`` of the way from the least to the largest row norm of stage one's classifier;
    null leaves MaxNorm out, so that the decay of the optimiser balances alone. ``beta`` is that of the effective
    numbers of images (Cui et al., CVPR 2019), 0 for no class weights.
    Deviation from the authors' code: the encoder stays in eval mode.
    Raises SettingError for values out of range.
    """

    augment: bool = True
    threshold: float | None = 0.1
    beta: float = 0.9999
    uses_classifier: ClassVar[bool] = True
    needs_linear_classifier: ClassVar[bool] = True
    microbatches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise SettingError("threshold", "null (no MaxNorm) or from 0 to 1", self.threshold, 0.1)
        if not 0 <= self.beta < 1:
            raise SettingError("beta", "at least 0 (no weights) and below 1", self.beta, 0.9999)

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """A copy of stage one's classifier; raises UsageError where it is not linear."""
        linear = linear_of_stage_one(classifier, "weight_balancing")
        radius = None if self.threshold is None else max_norm_radius(linear.weight, self.threshold)
        return _Balanced(encoder, MaxNormLinear(linear, radius), info, self)

    @torch.no_grad()
    def finish(self, method: Method, context: TrainContext) -> nn.Module:
        """A plain linear classifier with the rows after the last projection."""
        assert isinstance(method, _Balanced)
        weight, bias = method.classifier.inside(), method.classifier.bias
        linear = nn.Linear(weight.shape[1], len(weight), bias is not None, device=weight.device, dtype=weight.dtype)
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
        return linear

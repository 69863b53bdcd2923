"""RIDE: experts with margins that are pushed away from their mean, and their distillation."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.losses.ldam import DeferredLDAM
from lt_bench.losses.logit_adjustment import positive


def class_temperatures(counts: Tensor, reweight_factor: float, temperature: float) -> Tensor:
    """Temperatures of classes, the most frequent one having ``temperature``: proportional to 1 + a (C pi - 1).

    Shapes: counts (C,); returns (C,) float64. Raises DataError for a class without images.
    Source: Wang et al., ICLR 2021, authors' code.  Deviation: none.
    """
    counts = positive(counts)
    factors = 1 + reweight_factor * (len(counts) * counts / counts.sum() - 1)
    return temperature * factors / factors.max()


def divergences(logits: Tensor, temperatures: Tensor | float) -> Tensor:
    """KL(p, q) from the mean of all experts, without gradient, to every expert, at temperatures of classes.

    Shapes: logits (B, K, C), temperatures (C,); returns (B, K).
    Source: Wang et al., ICLR 2021, authors' code, which is linear in the number of experts.  Deviation: none.
    """
    mean = F.log_softmax(logits.detach().mean(1, keepdim=True) / temperatures, dim=2)
    own = F.log_softmax(logits / temperatures, dim=2)
    return F.kl_div(own, mean.expand_as(own), reduction="none", log_target=True).sum(2)


def distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """temperature^2 times KL from the teacher's logits to the mean of the experts', at that temperature, (B,).

    Shapes: logits (B, K, C), taught (B, C).
    Source: Wang et al., ICLR 2021, authors' code.  Deviation: none.
    """
    own = F.log_softmax(at_least_float32(logits).mean(1) / temperature, dim=1)
    wanted = F.log_softmax(taught.to(own.dtype) / temperature, dim=1)
    return temperature**2 * F.kl_div(own, wanted, reduction="none", log_target=True).sum(1)


class RideLoss(nn.Module):
    """The sum over experts of their LDAM losses and ``diversity_factor`` times their ``divergences``.

    Before epoch ``drw_start_epoch`` there are no class weights, and the temperature is ``diversity_temperature`` for
    all. With ``joint_without_diversity``, where the factor is 0, each of the LDAM losses is that of the mean logits, as
    in the authors' code. Shapes: counts (C,). What it holds follows from them, so its state is empty.
    Source: Wang et al., ICLR 2021, authors' code.  Deviation: none.
    Raises DataError for a class without images, SettingError for values out of range.
    """

    temperatures: Tensor

    def __init__(
        self,
        counts: Tensor,
        individual: DeferredLDAM,
        diversity_factor: float,
        reweight_factor: float = 0.05,
        diversity_temperature: float = 1.0,
        joint_without_diversity: bool = False,
    ) -> None:
        super().__init__()
        if not -math.inf < diversity_factor <= 0:
            raise SettingError("diversity_factor", "0 or below: experts are pushed apart", diversity_factor, -0.2)
        if not 0 <= reweight_factor < 1:
            raise SettingError("reweight_factor", "at least 0 and below 1", reweight_factor, 0.05)
        if not 0 < diversity_temperature < math.inf:
            raise SettingError("diversity_temperature", "above 0", diversity_temperature, 1.0)
        self.individual, self.factor, self.temperature = individual, diversity_factor, diversity_temperature
        self.joint = joint_without_diversity and diversity_factor == 0
        temperatures = class_temperatures(counts, reweight_factor, diversity_temperature)
        self.mean = float(temperatures.mean())
        self.register_buffer("temperatures", temperatures.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, epoch: int, reduction: str = "mean") -> Tensor:
        """Shapes: logits (B, K, C), ``scale`` times cosines, labels (B,); returns a scalar, or summands (B,)."""
        experts, logits = logits.shape[1], at_least_float32(logits)
        judged = logits.mean(1, keepdim=True).expand_as(logits) if self.joint else logits
        each = labels.repeat_interleave(experts)
        losses: Tensor = self.individual(judged.flatten(0, 1), each, epoch, reduction)
        # all experts have the same weights of classes: the weighted mean of all rows is the mean over experts
        losses = experts * losses if reduction == "mean" else losses.unflatten(0, (-1, experts)).sum(1)
        if self.factor == 0:
            return losses
        begun = self.individual.weights.begun(epoch)
        temperatures = self.temperatures.to(logits.dtype) if begun else self.temperature
        apart = divergences(logits, temperatures).sum(1)
        square = (self.mean if begun else self.temperature) ** 2
        return losses + self.factor * square * (apart.mean() if reduction == "mean" else apart)

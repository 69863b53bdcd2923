"""NCL and NCL++: networks that are each trained on all and on the hardest classes, and that agree on both."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.losses.cross_entropy import at_least_float32
from lt_bench.losses.experts import EPSILON
from lt_bench.losses.logit_adjustment import positive

HardFill = Literal["exclude", "zero"]


def disagreements(log_shares: Tensor) -> Tensor:
    """The sum over ordered pairs of experts of KL(P_j, P_i), divided by K - 1, with its summands by class; (B, M).

    Gradients reach both. It is 0 for one expert, and its cost is linear in the number of experts. Shapes: log
    probabilities (B, K, M) of M of the classes.
    Source: Li et al., CVPR 2022, authors' code, which adds 1e-9 to P_i.  Deviation: none.
    """
    experts, shares = log_shares.shape[1], log_shares.exp()
    if experts == 1:
        return 0 * log_shares.sum(1)
    guarded = (shares + EPSILON).log()
    crossed = shares.sum(1) * guarded.sum(1) - (shares * guarded).sum(1)
    return (shares * log_shares).sum(1) - crossed / (experts - 1)


def hardest(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """The image's own class and then those of the highest logits of the first expert, ``count`` in all.

    Shapes: raw logits (B, K, C), labels (B,); returns (B, count).
    Source: Li et al., CVPR 2022, authors' code.  Deviation: none.
    """
    first = logits[:, 0].detach().scatter(1, labels[:, None], math.inf)
    return first.topk(count, dim=1).indices


class Terms(NamedTuple):
    """Of images (B,): log probabilities (B, K, C) and the hardest classes (B, N), of which the own one is the first.

    Losses of the own class (B,), among all and among the hardest, are sums over experts; ``apart`` (B,) is what they
    disagree about among the hardest.
    """

    log_shares: Tensor
    chosen: Tensor
    own: Tensor
    hard: Tensor
    apart: Tensor


class NCLLoss(nn.Module):
    """The sum over experts of Balanced Softmax on all and on the ``hard_classes`` hardest classes, and disagreements.

    The latter are ``factor`` times those on all classes and ``factor_hard`` times those on the hardest. Classes that
    are not among these are left out with ``hard_fill`` "exclude"; with "zero" they have a logit of 0, as in the
    authors' code. Shapes: counts (C,). What it holds follows from them, so its state is empty.
    Source: Li et al., CVPR 2022, authors' code.  Deviation: "exclude", as the paper describes it.
    Raises DataError for a class without images, SettingError for values out of range.
    """

    log_counts: Tensor

    def __init__(
        self,
        counts: Tensor,
        hard_classes: int,
        hard_fill: HardFill = "exclude",
        factor: float = 0.6,
        factor_hard: float = 0.6,
        ce_ratio: float = 1.0,
        hard_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if not 1 <= hard_classes <= len(counts):
            raise SettingError("hard_classes", f"from 1 to the {len(counts)} classes", hard_classes, len(counts))
        if hard_fill not in get_args(HardFill):
            raise SettingError("hard_fill", "exclude or zero", hard_fill, "exclude")
        weights = {"factor": factor, "factor_hard": factor_hard, "ce_ratio": ce_ratio, "hard_ratio": hard_ratio}
        for name, value in weights.items():
            if not 0 <= value < math.inf:
                raise SettingError(name, "0 or more", value, 1.0 if name.endswith("ratio") else 0.6)
        self.hard_classes, self.factors, self.ratios = hard_classes, (factor, factor_hard), (ce_ratio, hard_ratio)
        self.zeros = len(counts) - hard_classes if hard_fill == "zero" else 0
        self.register_buffer("log_counts", positive(counts).log().float(), persistent=False)

    def terms(self, logits: Tensor, labels: Tensor) -> Terms:
        """What the losses are made of. Shapes: raw logits (B, K, C), labels (B,)."""
        logits = at_least_float32(logits)
        adjusted = logits + self.log_counts.to(logits.dtype)
        log_shares = adjusted.log_softmax(2)
        chosen = hardest(logits, labels, self.hard_classes)
        each = chosen[:, None].expand(-1, logits.shape[1], -1)
        own = -log_shares.gather(2, each[:, :, :1]).sum(dim=(1, 2))
        return Terms(log_shares, chosen, own, *self._hard(adjusted.gather(2, each)))

    def forward(self, logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        """Shapes: raw logits (B, K, C), labels (B,); returns a scalar, or with the reduction "none" summands (B,)."""
        of = self.terms(logits, labels)
        losses = self.ratios[0] * of.own + self.ratios[1] * of.hard
        losses = losses + self.factors[0] * disagreements(of.log_shares).sum(1) + self.factors[1] * of.apart
        return losses.mean() if reduction == "mean" else losses

    def _hard(self, hard: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and disagreements among the hardest classes, see ``Terms``, of adjusted logits (B, K, N)."""
        if not self.zeros:
            log_shares = hard.log_softmax(2)
            return -log_shares[:, :, 0].sum(1), disagreements(log_shares).sum(1)
        sums = hard.logsumexp(2, keepdim=True)
        sums = torch.logaddexp(sums, torch.full_like(sums, math.log(self.zeros)))
        log_shares = hard - sums
        # each class with a logit of 0 has the same probability
        apart = disagreements(log_shares).sum(1) + self.zeros * disagreements(-sums).sum(1)
        return -log_shares[:, :, 0].sum(1), apart


class NCLPlusLoss(NCLLoss):
    """NCL++: images have several copies, and not only the networks but also each network's copies agree.

    Disagreements are those on all classes and, ``factor_hard`` to ``factor``, those on the hardest, of the
    probabilities among all; of copies these are the hardest of the first one. Each is a mean over pairs.
    Source: authors' code of NCL++, whose factors are equal.  Deviation: as ``NCLLoss``.
    """

    def forward(self, logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        """Shapes: raw logits (B, I, K, C) of I copies, labels (B,); returns a scalar or summands (B,)."""
        copies, experts = logits.shape[1:3]
        of = self.terms(logits.flatten(0, 1), labels.repeat_interleave(copies))
        losses = self.ratios[0] * of.own + self.ratios[1] * of.hard
        losses = losses + 2 / experts * self._apart(disagreements(of.log_shares), of.chosen)
        by_network = of.log_shares.unflatten(0, (-1, copies)).transpose(1, 2).flatten(0, 1)
        apart = disagreements(by_network).unflatten(0, (-1, experts)).sum(1)
        losses = losses.unflatten(0, (-1, copies)).mean(1) + 2 / copies * self._apart(apart, of.chosen[::copies])
        return losses.mean() if reduction == "mean" else losses

    def _apart(self, by_class: Tensor, chosen: Tensor) -> Tensor:
        """Disagreements (B, C) summed over all and over the chosen classes, weighted; (B,)."""
        return self.factors[0] * by_class.sum(1) + self.factors[1] * by_class.gather(1, chosen).sum(1)

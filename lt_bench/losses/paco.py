"""Parametric contrastive loss, and what its relatives share: anchors against a labelled set of embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.supcon import exclude_self

EPSILON = 1e-12  # authors' code: added to the sum under the logarithm of every denominator
PRIOR_EPSILON = 1e-9  # authors' code: added to every class's share


@dataclass(frozen=True)
class PaCoSettings:
    """Temperatures and weights of the loss; ``base_temperature`` None is ``temperature``.

    The target weight of an anchor's own centre is ``beta``, of which ``smooth`` goes in equal parts to the other
    centres; that of every row of its class is ``alpha``. ``gamma`` multiplies the rows in the denominator, ``supt`` is
    the temperature of the centres, ``temperature`` that of the rows alone.
    Raises SettingError for values out of range.
    """

    temperature: float
    alpha: float
    base_temperature: float | None = None
    beta: float = 1.0
    gamma: float = 1.0
    supt: float = 1.0
    smooth: float = 0.0

    def __post_init__(self) -> None:
        usual = {"temperature": "0.05", "base_temperature": "null", "beta": "1.0", "gamma": "1.0", "supt": "1.0"}
        for name, advice in usual.items():
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SettingError(name, "above 0", value, advice)
        if not 0 <= self.alpha < math.inf:
            raise SettingError("alpha", "0 or more", self.alpha, 0.01)
        if not 0 <= self.smooth < 1:
            raise SettingError("smooth", "at least 0 and below 1", self.smooth, 0.0)


def official_log_prior(counts: Tensor) -> Tensor:
    """Log of every class's share plus 1e-9, as in the authors' code; (C,) -> (C,) float64.

    Raises DataError for a class without images.
    """
    prior = log_prior(counts)
    return torch.logaddexp(prior, prior.new_tensor(math.log(PRIOR_EPSILON)))


def set_scores(embeddings: Tensor, labels: Tensor, anchors: int, temperature: float) -> Tensor:
    """Inner products over the temperature of the first ``anchors`` rows with all rows, never in reduced precision.

    Minus infinity for a row with itself and for rows with label -1, for use under ``logsumexp`` only.
    Shapes: embeddings (n, D), labels (n,); returns (anchors, n).
    """
    absent = torch.zeros_like(labels, dtype=embeddings.dtype).masked_fill(labels < 0, -torch.inf)
    with torch.autocast(embeddings.device.type, enabled=False):
        scores = torch.addmm(absent, embeddings[:anchors] / temperature, embeddings.T)
    return exclude_self(scores)


def positive_sums(embeddings: Tensor, labels: Tensor, anchors: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """Per anchor, the sum of its inner products with all other rows of its class, and their number.

    Shapes: embeddings (n, D), the first ``anchors`` rows being the anchors, labels (n,) from 0 to C - 1, or -1 for
    rows of no class; returns (anchors,) and (anchors,).
    """
    groups = labels + 1
    sums = embeddings.new_zeros(num_classes + 1, embeddings.shape[1]).index_add(0, groups, embeddings)
    counts = embeddings.new_zeros(num_classes + 1).index_add(0, groups, embeddings.new_ones(len(labels)))
    queries, own = embeddings[:anchors], groups[:anchors]
    # not sums[own], whose gradient on a CPU depends on which thread is first
    return (queries * (sums.index_select(0, own) - queries)).sum(1), counts[own] - 1


def add_epsilon(log_denominator: Tensor, largest: Tensor) -> Tensor:
    """The log of a denominator to which 1e-12 times the exponential of ``largest`` is added: the authors' arithmetic.

    They subtract the largest score and then add 1e-12 to the sum. Shapes: (A,), (A,); returns (A,).
    """
    return torch.logaddexp(log_denominator, largest.detach() + math.log(EPSILON))


def largest_score(embeddings: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """The largest score of every anchor, that with itself included, which ``set_scores`` leaves out.

    Shapes: embeddings (n, D), scores (A, n); returns (A,), outside the graph.
    """
    itself = embeddings[: len(scores)].detach().square().sum(1) / temperature
    return torch.maximum(scores.detach().amax(1), itself)


def paco(
    logits: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    log_prior: Tensor,
    settings: PaCoSettings,
    official_epsilon: bool = False,
) -> Tensor:
    """One softmax per anchor over the class centres and all other embeddings; its class's centre and rows are targets.

    Shapes: logits (A, C) of the anchors, embeddings (n, D) unit length whose first A rows are the anchors, labels (n,),
    -1 for rows that are left out, log_prior (C,), zeros for none; returns a scalar, at least float32.
    Source: Cui et al., ICCV 2021, and TPAMI 2023 for ``smooth``, both as in the authors' code, which divides by the sum
    of the target weights.  Deviation: the denominator is exact; ``official_epsilon`` adds 1e-12 times the exponential
    of the largest score as they do, which can dominate it.
    """
    beta, alpha, temperature = settings.beta, settings.alpha, settings.temperature
    dtype = torch.promote_types(torch.promote_types(embeddings.dtype, logits.dtype), torch.float32)
    embeddings, (anchors, classes) = embeddings.to(dtype), logits.shape
    centres = (logits.to(dtype) + log_prior.to(dtype)) / settings.supt
    scores = set_scores(embeddings, labels, anchors, temperature)
    log_denominator = torch.logaddexp(centres.logsumexp(1), scores.logsumexp(1) + math.log(settings.gamma))
    if official_epsilon:
        largest = torch.maximum(centres.amax(1), largest_score(embeddings, scores, temperature))
        log_denominator = add_epsilon(log_denominator, largest)
    target = centres.gather(1, labels[:anchors, None]).squeeze(1)
    if settings.smooth:
        target = target + settings.smooth / (classes - 1) * (centres.sum(1) - classes * target)
    positives, counts = positive_sums(embeddings, labels, anchors, classes)
    attraction = (beta * target + alpha / temperature * positives) / (beta + alpha * counts)
    return temperature / (settings.base_temperature or temperature) * (log_denominator - attraction).mean()

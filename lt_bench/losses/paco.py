"""Parametric contrastive loss, and what its relatives share: anchors against a labelled set of embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.losses.contrast import log_denominators, positive_sums
from lt_bench.losses.logit_adjustment import log_prior

EPSILON = 1e-12  # authors' code: added to the sum under the logarithm of every denominator
PRIOR_EPSILON = 1e-9  # authors' code: added to every class's share


@dataclass(frozen=True)
class PaCoSettings:
    """Temperatures and weights of the loss; ``base_temperature`` None is ``temperature``.

    The target weight of an anchor's own centre is ``beta``, of which ``smooth`` goes in equal parts to the other
    centres; that of every row of its class is ``alpha``. ``gamma`` multiplies the rows in the denominator, which with 0
    is that of the centres alone; ``supt`` is the temperature of the centres, ``temperature`` that of the rows alone.
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
        usual = {"temperature": "0.05", "base_temperature": "null", "beta": "1.0", "supt": "1.0"}
        for name, advice in usual.items():
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SettingError(name, "above 0", value, advice)
        for name, common in (("alpha", 0.01), ("gamma", 1.0)):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(name, "0 or more", getattr(self, name), common)
        if not 0 <= self.smooth < 1:
            raise SettingError("smooth", "at least 0 and below 1", self.smooth, 0.0)


def official_log_prior(counts: Tensor) -> Tensor:
    """Log of every class's share plus 1e-9, as in the authors' code; (C,) -> (C,) float64.

    Raises DataError for a class without images.
    """
    prior = log_prior(counts)
    return torch.logaddexp(prior, prior.new_tensor(math.log(PRIOR_EPSILON)))


def row_bias(labels: Tensor, factor: float, dtype: torch.dtype) -> Tensor:
    """What the scores with a row are raised by: the log of the factor, minus infinity for label -1; (n,) -> (n,)."""
    raised = math.log(factor) if factor > 0 else -math.inf
    return torch.full_like(labels, raised, dtype=dtype).masked_fill_(labels < 0, -torch.inf)


def trained_rows(embeddings: Tensor, constants: int) -> Tensor:
    """The embeddings (n, D) less the last ``constants``, which have no gradient."""
    return embeddings[: len(embeddings) - constants] if constants else embeddings


def add_epsilon(log_denominator: Tensor, queries: Tensor, temperature: float, logits: Tensor | None = None) -> Tensor:
    """Add 1e-12 times the exponential of an anchor's largest score to its denominator: the authors' arithmetic.

    They subtract the largest score and then add 1e-12 to the sum. Of scores between rows of unit length or less the
    largest is that with itself, which the denominator leaves out. Shapes: (A,), (A, D), (A, C); returns (A,).
    """
    largest = queries.detach().square().sum(1) / temperature
    if logits is not None:
        largest = torch.maximum(largest, logits.detach().amax(1))
    return torch.logaddexp(log_denominator, largest + math.log(EPSILON))


def paco(
    logits: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    log_prior: Tensor,
    settings: PaCoSettings,
    official_epsilon: bool = False,
    constants: int = 0,
) -> Tensor:
    """One softmax per anchor over the class centres and all other embeddings; its class's centre and rows are targets.

    Shapes: logits (A, C) of the anchors, embeddings (n, D) unit length whose first A rows are the anchors, labels (n,),
    -1 for rows that are left out, log_prior (C,), zeros for none; returns a scalar, at least float32. The last
    ``constants`` embeddings have no gradient.
    Source: Cui et al., ICCV 2021, and TPAMI 2023 for ``smooth``, both as in the authors' code, which divides by the sum
    of the target weights.  Deviation: the denominator is exact; ``official_epsilon`` adds 1e-12 times the exponential
    of the largest score as they do, which can dominate it.
    """
    beta, alpha, temperature = settings.beta, settings.alpha, settings.temperature
    dtype = torch.promote_types(torch.promote_types(embeddings.dtype, logits.dtype), torch.float32)
    embeddings, (anchors, classes) = embeddings.to(dtype), logits.shape
    rows = trained_rows(embeddings, constants)
    centres = (logits.to(dtype) + log_prior.to(dtype)) / settings.supt
    bias = row_bias(labels, settings.gamma, dtype).expand(anchors, -1)
    log_denominator = log_denominators(rows, anchors, temperature, bias, embeddings, centres)
    if official_epsilon:
        log_denominator = add_epsilon(log_denominator, embeddings[:anchors], temperature, centres)
    target = centres.gather(1, labels[:anchors, None]).squeeze(1)
    if settings.smooth:
        target = target + settings.smooth / (classes - 1) * (centres.sum(1) - classes * target)
    positives, counts = positive_sums(rows, labels, anchors, classes, embeddings)
    attraction = (beta * target + alpha / temperature * positives) / (beta + alpha * counts)
    return temperature / (settings.base_temperature or temperature) * (log_denominator - attraction).mean()

"""The multi-task baseline of generalised PaCo: cross-entropy beside a supervised contrastive loss with a queue."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.losses.contrast import log_denominators, positive_sums
from lt_bench.losses.logit_adjustment import logit_adjusted_cross_entropy
from lt_bench.losses.paco import add_epsilon, row_bias, trained_rows


def gpaco_multitask(
    logits: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    log_prior: Tensor,
    class_weights: Tensor,
    temperature: float,
    alpha: float,
    official_epsilon: bool = False,
    constants: int = 0,
) -> Tensor:
    """Prior-adjusted cross-entropy plus ``alpha`` times the mean supervised contrastive term over a labelled set.

    An anchor's contrastive term is multiplied by its class's weight; without a positive it is zero. The set holds at
    least one labelled row beside an anchor, as two views of an image are.
    Shapes: logits (A, C) of the anchors, embeddings (n, D) unit length whose first A rows are the anchors, labels (n,),
    -1 for rows that are left out, log_prior (C,), zeros for none, class_weights (C,); returns a scalar, at least
    float32. The last ``constants`` embeddings have no gradient.
    Source: Cui et al., TPAMI 2023, authors' code.  Deviation: the denominator is exact, and the weights act; in their
    code these are always one. ``official_epsilon`` adds 1e-12 times the exponential of the largest score as they do.
    """
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    anchors, classes = logits.shape
    rows = trained_rows(embeddings, constants)
    bias = row_bias(labels, 1.0, embeddings.dtype).repeat(anchors, 1)
    log_denominator = log_denominators(rows, anchors, temperature, bias, embeddings)
    if official_epsilon:
        log_denominator = add_epsilon(log_denominator, embeddings[:anchors], temperature)
    positives, counts = positive_sums(rows, labels, anchors, classes, embeddings)
    terms = (counts * log_denominator - positives / temperature) / counts.clamp(min=1)
    weights = class_weights.to(terms.dtype)[labels[:anchors]]
    cross_entropy = logit_adjusted_cross_entropy(logits, labels[:anchors], log_prior, tau=1.0)
    return cross_entropy + alpha * (weights * terms).mean()

"""LADE's second term: a bound on how far each logit is from the log-ratio of its class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lt_bench.losses.cross_entropy import at_least_float32

EPSILON = 1e-9  # of the authors' code, beside every share of a class


def lade(
    logits: Tensor, labels: Tensor, log_prior: Tensor, regularisation: float, official_epsilon: bool = False
) -> Tensor:
    """The negative regularised Donsker-Varadhan bound of every class, averaged with the prior.

    Of class c, the mean logit of its images in the batch (0 where it has none) less the log-mean-exp of the logits of
    all images, shifted from the prior to a uniform one, less ``regularisation`` times the square of the latter.
    Shapes: logits (B, C), labels (B,), log_prior (C,); returns a scalar, at least float32.
    Source: Hong et al., CVPR 2021, authors' code, where the shift is one of the class, not of the image.  Deviation:
    none with ``official_epsilon``, which adds 1e-9 to the shares of classes and 1e-8 to the number of their images.
    """
    logits = at_least_float32(logits)
    images, classes = logits.shape
    epsilon = EPSILON if official_epsilon else 0.0
    shift = math.log(1 / classes + epsilon) - with_epsilon(log_prior, epsilon).to(logits.dtype)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    zeros = logits.new_zeros(classes)
    counts = zeros.index_add(0, labels, torch.ones_like(own))
    first = zeros.index_add(0, labels, own) / (counts + 10 * epsilon if official_epsilon else counts.clamp(min=1))
    second = torch.logsumexp(logits, dim=0) + shift - math.log(images)
    bounds = first - second - regularisation * second.square()
    return -(log_prior.exp().to(logits.dtype) * bounds).sum()


def with_epsilon(log_prior: Tensor, epsilon: float) -> Tensor:
    """Log of every class's share plus ``epsilon``; shapes: (C,) -> (C,)."""
    return (log_prior.exp() + epsilon).log() if epsilon else log_prior

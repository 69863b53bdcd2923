"""Predictions of several experts, and what their logits are together under weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lt_bench.evaluation.predictions import LOGITS, Predictions
from lt_bench.models.named import expert_name

UNIFORM = "uniform"  # the test set as it is, among those that weights are for


def weighted(predictions: Predictions, weights: np.ndarray) -> Predictions:
    """The sum of the experts' logits under weights (K,) as what is evaluated.

    Raises KeyError where predictions lack the logits of one of as many experts.
    """
    sets = [predictions.logits_by_name[expert_name(number)] for number in range(len(weights))]
    logits = np.tensordot(weights, np.stack(sets), 1)
    return replace(predictions, logits_by_name={**predictions.logits_by_name, LOGITS: logits})

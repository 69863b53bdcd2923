"""Logit adjustment after training, with a strength that is chosen on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lt_bench.evaluation.predictions import LOGITS, Predictions

TAUS = tuple(step / 10 for step in range(31))  # 0, 0.1 .. 3


def log_prior(train_counts: np.ndarray) -> np.ndarray:
    """Logarithm of each class's share of the training images, (C,) float64; a class without any counts as one image."""
    counts = np.maximum(np.asarray(train_counts, dtype=np.float64), 1.0)
    found: np.ndarray = np.log(counts / counts.sum())
    return found


def adjusted(predictions: Predictions, tau: float) -> Predictions:
    """Predictions, and those on validation images, with tau times the logarithm of the prior taken from all logits.

    tau 1 is for networks trained by cross-entropy, 0 changes nothing.
    Source: Menon et al., ICLR 2021, eq. (9).  Deviation: a class without training images counts as one.
    """
    shift = tau * log_prior(predictions.train_counts)
    validation = predictions.validation and adjusted(predictions.validation, tau)
    by_name = {name: logits - shift for name, logits in predictions.logits_by_name.items()}
    return replace(predictions, logits_by_name=by_name, validation=validation)


def choose_tau(validation: Predictions, taus: Sequence[float] = TAUS) -> float:
    """The tau with the highest mean accuracy of the classes on validation images; of equal ones the nearest to 0."""
    validation = replace(validation, logits_by_name={LOGITS: validation.logits})
    found = {tau: float(adjusted(validation, tau).tested.mean()) for tau in sorted(taus, key=abs)}
    return max(found, key=found.__getitem__)


def adjusted_as_chosen(predictions: Predictions) -> Predictions | None:
    """``adjusted`` with ``choose_tau`` of the validation images; None where there are none."""
    if predictions.validation is None or LOGITS not in predictions.logits_by_name:
        return None
    return adjusted(predictions, choose_tau(predictions.validation))

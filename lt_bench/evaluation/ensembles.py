"""Ensembles of finished runs, also of different networks, from their predictions alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lt_bench.errors import UsageError
from lt_bench.evaluation.predictions import LOGITS, Predictions

MEANS = ("probabilities", "logits")


def ensemble(members: Sequence[Predictions], mean_of: str = "probabilities") -> Predictions:
    """The mean of the members' probabilities, whose logarithm it gives as logits, or of their logits.

    Its validation images are treated alike, where all members have them; group rule and class names are the first's.
    Raises UsageError for no member, another mean, confusion counts, logits that were adapted to test images, and
    members that are not of the same images in the same order or of the same training counts.
    """
    if mean_of not in MEANS:
        raise UsageError(f"an ensemble is a mean of {' or '.join(MEANS)}, not of {mean_of}")
    if not members or any(LOGITS not in one.logits_by_name for one in members):
        raise UsageError("an ensemble needs members, each with logits")
    if any(one.expert_weights for one in members):
        said = "an ensemble of logits that were adapted to test images has no weights for other test sets"
        raise UsageError(f"{said}; take those of the experts' mean, --logits mean")
    first, *others = members
    for number, other in enumerate(others, start=2):
        if not np.array_equal(other.labels, first.labels):
            raise UsageError(f"member {number} is of other test images than the first, or has them in another order")
        if not np.array_equal(other.train_counts, first.train_counts):
            raise UsageError(f"member {number} was trained on other numbers of images per class than the first")
    held_out = [one.validation for one in members if one.validation is not None]
    validation = ensemble(held_out, mean_of) if len(held_out) == len(members) else None
    of_one = _log_probabilities if mean_of == "probabilities" else _logits
    logits = of_one(first)
    for other in others:
        logits = np.logaddexp(logits, of_one(other)) if mean_of == "probabilities" else logits + of_one(other)
    logits = logits - np.log(len(members)) if mean_of == "probabilities" else logits / len(members)
    return replace(first, logits_by_name={LOGITS: logits}, validation=validation)


def _logits(predictions: Predictions) -> np.ndarray:
    return predictions.logits.astype(np.float64)


def _log_probabilities(predictions: Predictions) -> np.ndarray:
    logits = _logits(predictions)
    shifted: np.ndarray = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

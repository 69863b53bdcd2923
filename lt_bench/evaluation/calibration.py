"""Calibration: does the confidence of a prediction match its accuracy, and how likely are the labels under it?"""

from __future__ import annotations

import numpy as np


def confidences(logits: np.ndarray) -> np.ndarray:
    """Largest softmax probability of every row, (M, C) -> (M,) float64 in (0, 1]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return 1.0 / np.exp(shifted, out=shifted).sum(axis=1, dtype=np.float64)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (low, high], weighted by the bins' sizes.

    Shapes: confidence (M,) in (0, 1], correct (M,) bool; returns a fraction in [0, 1].
    Source: Guo et al., ICML 2017, eq. (3).  Deviation: none.
    """
    bin_ids = np.digitize(confidence, np.linspace(0.0, 1.0, bins + 1)[1:-1], right=True)
    gaps = np.bincount(bin_ids, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, rows: int = 4096) -> float:
    """Mean of -log softmax(logits)[label] over images, in nats, in float64; so many rows at a time bound the memory.

    Shapes: logits (M, C), labels (M,).
    Source: Guo et al., ICML 2017, section 2.  Deviation: a mean, as usual, where their eq. is a sum.
    """
    total = 0.0
    for start in range(0, len(logits), rows):
        part = logits[start : start + rows].astype(np.float64)
        own = np.take_along_axis(part, labels[start : start + rows, None], axis=1)[:, 0]
        largest = part.max(axis=1)
        total += float((np.log(np.exp(part - largest[:, None]).sum(axis=1)) + (largest - own)).sum())
    return total / len(logits)

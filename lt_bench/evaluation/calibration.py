"""Calibration: does the confidence of a prediction match its accuracy?"""

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

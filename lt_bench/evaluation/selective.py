"""Selective prediction: how accurate are the predictions that a model is most confident of?"""

from __future__ import annotations

import math

import numpy as np


def without_ties(confidence: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (M,) in the order of falling confidence; images of equal confidence share the mean of their values.

    So no result depends on the order of images: it is the mean over all orders of equal ones.
    """
    _, group = np.unique(-confidence, return_inverse=True)
    means = np.bincount(group, weights=values) / np.bincount(group)
    found: np.ndarray = means[np.sort(group)]
    return found


def risks(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Error among the k images of highest confidence, for k = 1 .. M: (M,), (M,) bool -> (M,) float64.

    Source: Geifman and El-Yaniv, NeurIPS 2017, eqs. (1), (2).  Deviation: equal confidences, see ``without_ties``.
    """
    wrong = without_ties(confidence, 1.0 - correct)
    return np.cumsum(wrong) / np.arange(1, len(wrong) + 1)


def area_under_risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Mean of ``risks`` over all coverages, a fraction in [0, 1]; the lower the better.

    Source: Geifman et al., ICLR 2019, section 2 (AURC).  Deviation: equal confidences, see ``without_ties``.
    """
    return float(risks(confidence, correct).mean())


def selective_accuracy(confidence: np.ndarray, correct: np.ndarray, coverage: float) -> float:
    """Accuracy among the ceil(coverage * M) images of highest confidence; coverage in (0, 1]."""
    if not 0 < coverage <= 1:
        raise ValueError(f"a coverage is in (0, 1], not {coverage}")
    kept = math.ceil(round(coverage * len(confidence), 9))  # 0.8 * 5 is a little more than 4
    return 1.0 - float(risks(confidence, correct)[kept - 1])

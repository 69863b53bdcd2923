"""Calibration: does the confidence of a prediction match its accuracy, and how likely are the labels under it?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lt_bench.evaluation.selective import without_ties


def confidences(logits: np.ndarray) -> np.ndarray:
    """Largest softmax probability of every row, (M, C) -> (M,) float64 in (0, 1]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return 1.0 / np.exp(shifted, out=shifted).sum(axis=1, dtype=np.float64)


class Reliability(NamedTuple):
    """The bars of a reliability diagram, (B,) each: edges (B + 1,), images, mean confidence and accuracy.

    Bins are (low, high]; confidence and accuracy are NaN where a bin has no image.
    """

    edges: np.ndarray
    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> Reliability:
    """Confidence beside accuracy in equal-width bins.

    Shapes: confidence (M,) in (0, 1], correct (M,) bool.
    Source: Guo et al., ICML 2017, figure 1 and section 2.  Deviation: none.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_ids = _bin_ids(confidence, bins)
    images = np.bincount(bin_ids, minlength=bins)
    sure, right = (np.bincount(bin_ids, weights=values, minlength=bins) for values in (confidence, correct))
    with np.errstate(invalid="ignore"):
        return Reliability(edges, images, sure / images, right / images)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (low, high], weighted by the bins' sizes.

    Shapes: confidence (M,) in (0, 1], correct (M,) bool; returns a fraction in [0, 1].
    Source: Guo et al., ICML 2017, eq. (3).  Deviation: none.
    """
    gaps = np.bincount(_bin_ids(confidence, bins), weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def adaptive_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """``expected_calibration_error`` over bins of equally many images, which differ by one at most.

    Source: Nguyen and O'Connor, EMNLP 2015, section 4.  Deviation: equal confidences share their mean accuracy, so
    that the order of images decides nothing.
    """
    ordered, right = np.sort(confidence)[::-1], without_ties(confidence, correct)
    parts = zip(np.array_split(ordered, bins), np.array_split(right, bins), strict=True)
    return float(sum(abs((sure - accuracy).sum()) for sure, accuracy in parts) / len(confidence))


def _bin_ids(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The equal-width bin (low, high] of every confidence, (M,)."""
    return np.digitize(confidence, np.linspace(0.0, 1.0, bins + 1)[1:-1], right=True)


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


def fitted_temperature(logits: np.ndarray, labels: np.ndarray, steps: int = 50) -> float:
    """The T in [0.001, 1000] under which softmax(logits / T) makes the labels likeliest.

    Shapes: logits (M, C), labels (M,).
    Source: Guo et al., ICML 2017, section 4.2.  Deviation: Newton's steps on 1 / T, in which the mean negative log
    likelihood is convex, inside a bracket that halves where one leaves it; float64.
    """
    least, most, inverse = 1e-3, 1e3, 1.0
    own = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0].astype(np.float64)
    for _ in range(steps):
        slope, curvature = _likelihood_slopes(logits, own, inverse)
        least, most = (least, inverse) if slope > 0 else (inverse, most)
        step = inverse - slope / curvature if curvature > 0 else most
        new = step if least < step < most else math.sqrt(least * most)
        if abs(new - inverse) <= 1e-9 * inverse:
            break
        inverse = new
    return float(1 / inverse)


def _likelihood_slopes(logits: np.ndarray, own: np.ndarray, inverse: float, rows: int = 4096) -> tuple[float, float]:
    """First and second derivative of the mean negative log likelihood in the inverse temperature."""
    slope = curvature = 0.0
    for start in range(0, len(logits), rows):
        part = logits[start : start + rows].astype(np.float64)
        likely = np.exp(inverse * (part - part.max(axis=1, keepdims=True)))
        likely /= likely.sum(axis=1, keepdims=True)
        means = (likely * part).sum(axis=1)
        slope += float((means - own[start : start + rows]).sum())
        curvature += float((likely * (part - means[:, None]) ** 2).sum())
    return slope / len(logits), curvature / len(logits)

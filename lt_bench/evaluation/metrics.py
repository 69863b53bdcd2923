"""Accuracy of saved logits: overall, per class and per shot group; fractions in [0, 1]."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from lt_bench.evaluation.calibration import confidences, expected_calibration_error
from lt_bench.evaluation.shots import shot_groups


class Metrics(TypedDict):
    """Everything computed from one set of logits, ready for JSON; lists are indexed by class id.

    ``top1`` and ``top5`` count images alike, ``macro`` classes alike; ``group_std`` is the population standard
    deviation over the three groups, the lower the more balanced. None are ``top5`` of at most five classes, a group
    without tested classes (and then ``group_std``) and the accuracy of a class without test images.
    """

    top1: float
    top5: float | None
    macro: float
    many: float | None
    medium: float | None
    few: float | None
    group_std: float | None
    ece: float
    per_class_accuracy: list[float | None]
    test_counts: list[int]
    train_counts: list[int]


def check_arrays(
    logits: np.ndarray, labels: np.ndarray, train_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (M, C) as float32, labels (M,) and train_counts (C,) as int64; ValueError if they do not fit together."""
    logits = np.asarray(logits, dtype=np.float32)
    labels, train_counts = np.asarray(labels), np.asarray(train_counts)
    if (
        logits.ndim != 2
        or not logits.size
        or labels.shape != logits.shape[:1]
        or train_counts.shape != logits.shape[1:]
    ):
        raise ValueError(
            "expected logits (M, C), labels (M,) and train_counts (C,) with M, C >= 1; "
            f"found {logits.shape}, {labels.shape}, {train_counts.shape}"
        )
    if labels.dtype.kind not in "iu" or train_counts.dtype.kind not in "iu":
        raise ValueError(f"labels and train_counts must be integers, found {labels.dtype} and {train_counts.dtype}")
    if labels.min() < 0 or labels.max() >= len(train_counts):
        raise ValueError(f"labels must lie in 0..{len(train_counts) - 1}, found {labels.min()}..{labels.max()}")
    if broken := int((~np.isfinite(logits).all(axis=1)).sum()):
        raise ValueError(f"logits must be finite, found NaN or infinity in {broken} of {len(logits)} rows")
    return logits, labels.astype(np.int64), train_counts.astype(np.int64)


def per_class_accuracy(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Fraction of each class's test images predicted right, (M,), (M,) -> (C,); NaN for a class without images."""
    totals = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[labels == predictions], minlength=num_classes)
    return np.divide(hits, totals, out=np.full(num_classes, np.nan), where=totals > 0)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Number of images per (true class, predicted class), (M,), (M,) -> (C, C) int64."""
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def _mean(accuracies: np.ndarray) -> float | None:
    """Mean over the classes that have test images, None if there are none."""
    known = accuracies[~np.isnan(accuracies)]
    return float(known.mean()) if known.size else None


def group_std(many: float | None, medium: float | None, few: float | None) -> float | None:
    """Population standard deviation (ddof 0) of the three group accuracies, None where a group has none.

    Source: Jiang et al., ICML 2021, and Zhou et al., NeurIPS 2023, authors' code ("std").  Deviation: none.
    """
    accuracies = (many, medium, few)
    return None if None in accuracies else float(np.std(np.array(accuracies, dtype=np.float64)))


def top_k_accuracy(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of images whose class is among the ``k`` largest logits; of equal logits the smaller class id counts.

    Shapes: logits (M, C), labels (M,).
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = (logits == own) & (np.arange(logits.shape[1]) < labels[:, None])
    return float((((logits > own) | before).sum(axis=1) < k).mean())


def evaluate(logits: np.ndarray, labels: np.ndarray, train_counts: np.ndarray, group_rule: str) -> Metrics:
    """All metrics of a test set; logits are rounded to float32, the precision in which they are saved.

    Shapes: logits (M, C), labels (M,), train_counts (C,).  Group accuracies are means of per-class accuracies
    (Liu et al., CVPR 2019).  Deviation: an empty group is None, the authors' code says 0.
    Raises ValueError for shapes or values that do not fit together and for an unknown group rule.
    """
    logits, labels, train_counts = check_arrays(logits, labels, train_counts)
    predictions = logits.argmax(axis=1)
    correct = predictions == labels
    accuracies = per_class_accuracy(labels, predictions, len(train_counts))
    groups = {name: _mean(accuracies[ids]) for name, ids in shot_groups(train_counts, group_rule).items()}
    return Metrics(
        top1=float(correct.mean()),
        top5=top_k_accuracy(logits, labels, 5) if logits.shape[1] > 5 else None,
        macro=float(np.nanmean(accuracies)),
        many=groups["many"],
        medium=groups["medium"],
        few=groups["few"],
        group_std=group_std(**groups),
        ece=expected_calibration_error(confidences(logits), correct),
        per_class_accuracy=[None if np.isnan(accuracy) else float(accuracy) for accuracy in accuracies],
        test_counts=np.bincount(labels, minlength=len(train_counts)).tolist(),
        train_counts=train_counts.tolist(),
    )

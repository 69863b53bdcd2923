"""Classes one by one: accuracies along the tail, and what is taken for what."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lt_bench.evaluation.predictions import Predictions


class ClassCurve(NamedTuple):
    """Classes from the most training images to the fewest, of equal ones the smaller id first; (C,) each.

    ``accuracies`` are fractions, NaN for a class without test images.
    """

    classes: np.ndarray
    train_counts: np.ndarray
    accuracies: np.ndarray


class Confused(NamedTuple):
    """How many images of a class were taken for another one, and which share of its test images that is."""

    label: int
    predicted: int
    images: int
    share: float


def class_curve(predictions: Predictions) -> ClassCurve:
    """The accuracy of each class along the long tail."""
    classes = np.argsort(-predictions.train_counts, kind="stable")
    return ClassCurve(classes, predictions.train_counts[classes], predictions.scores[classes])


def most_confused(predictions: Predictions, most: int) -> list[Confused]:
    """The pairs of classes with the largest shares of mistakes, at most so many; of equal ones smaller ids first."""
    shares = predictions.cells / np.maximum(predictions.totals, 1)[:, None]
    np.fill_diagonal(shares, 0.0)
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    pairs = (divmod(int(cell), len(shares)) for cell in order)
    return [
        Confused(label, taken, int(predictions.cells[label, taken]), float(shares[label, taken]))
        for label, taken in pairs
        if shares[label, taken] > 0
    ]

"""Test-agnostic evaluation: accuracies on long-tailed test sets, from predictions on a balanced one.

Source: Zhang et al., NeurIPS 2022 (SADE), and Hong et al., CVPR 2021, authors' code.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lt_bench.evaluation.experts import weighted
from lt_bench.evaluation.predictions import LOGITS, Predictions

# like the training set, or the other way round
DIRECTIONS = ("forward", "backward")
FACTORS = (50, 25, 10, 5, 2)


def shifted_counts(train_counts: np.ndarray, most: int, direction: str, share: float) -> np.ndarray:
    """Test images of each class, (C,) int64: int(most * share ** (r / (C - 1))), r the rank of the class from 0.

    "forward" ranks classes by their training images, the largest first and of equal ones the smaller id; "backward"
    the other way round. ``share`` is smallest / largest class, 1 / factor. A class may have none.
    Source: Zhang et al., NeurIPS 2022, authors' code.  Deviation: equal training counts are ranked by class id.
    Raises ValueError for another direction and a share outside (0, 1].
    """
    if direction not in DIRECTIONS or not 0 < share <= 1:
        raise ValueError(f"a direction is one of {', '.join(DIRECTIONS)} and a share in (0, 1]: {direction}, {share}")
    classes = len(train_counts)
    order = np.argsort(-np.asarray(train_counts, dtype=np.int64), kind="stable")
    ranks = range(classes) if direction == "forward" else reversed(range(classes))
    counts = np.empty(classes, dtype=np.int64)
    counts[order] = [int(most * share ** (rank / max(classes - 1.0, 1.0))) for rank in ranks]
    return counts


def expected_top1(accuracies: np.ndarray, counts: np.ndarray) -> float:
    """The top-1 accuracy that a test set of so many images per class has on average over all draws of them.

    Shapes: accuracies (C,), each on all test images of its class, NaN where it has none; counts (C,), not all 0.
    It is sum(counts * accuracies) / sum(counts), exactly, with no draw. Raises ValueError where a class that is to have
    images has no accuracy.
    """
    drawn = counts > 0
    if not drawn.any() or np.isnan(accuracies[drawn]).any():
        raise ValueError("there are no test images of a class that is to have some")
    return float(counts[drawn] @ accuracies[drawn] / counts.sum())


def standard_error(accuracies: np.ndarray, totals: np.ndarray, counts: np.ndarray) -> float:
    """How far one draw lies from ``expected_top1``: its standard deviation, drawn without replacement.

    Shapes: (C,) each; ``totals`` are the test images of a class, of which ``counts`` are drawn.
    """
    drawn = counts > 0
    share, of, number = accuracies[drawn], totals[drawn], counts[drawn]
    left = (of - number) / np.maximum(of - 1, 1)
    return math.sqrt(float((number * share * (1 - share) * left).sum())) / int(counts.sum())


def drawn_images(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Positions of the test images that the authors' code draws, class by class, smaller test sets inside larger ones.

    Shapes: labels (M,), counts (C,), each at most the images of its class.
    Source: Zhang et al., NeurIPS 2022, authors' code (NumPy's legacy generator with seed 0).  Deviation: none.
    """
    generator = np.random.RandomState(0)
    parts = []
    for label, count in enumerate(counts.tolist()):
        positions = np.flatnonzero(labels == label)
        generator.shuffle(positions)
        if count > len(positions):
            raise ValueError(f"class {label} has {len(positions)} test images, not {count}")
        parts.append(positions[:count])
    return np.concatenate(parts)


def only(predictions: Predictions, positions: np.ndarray) -> Predictions:
    """The predictions of some of the images."""
    logits = {name: one[positions] for name, one in predictions.logits_by_name.items()}
    return replace(predictions, logits_by_name=logits, labels=predictions.labels[positions])


def with_known_prior(predictions: Predictions, counts: np.ndarray) -> Predictions:
    """Logits plus the logarithm of the share of each class in a test set that is known; a class without images is out.

    What it makes is not comparable with what does not know the test set.
    Source: Aimar et al., CVPR 2023, authors' code.  Deviation: none.
    """
    with np.errstate(divide="ignore"):
        shift = np.log(counts / counts.sum())
    lowest = float(np.finfo(np.float32).min)  # finite: its probability is 0 all the same
    logits = np.maximum(predictions.logits.astype(np.float64) + shift, lowest)
    return replace(predictions, logits_by_name={**predictions.logits_by_name, LOGITS: logits}, expert_weights={})


def long_tail(totals: np.ndarray, train_counts: np.ndarray, direction: str, factor: int) -> np.ndarray | None:
    """``shifted_counts`` of a factor whose largest class has as many test images as all have, of ``totals`` (C,).

    None where they have fewer than the factor, of which the smallest class would have none.
    """
    most = int(totals.min())
    return None if most < factor else shifted_counts(train_counts, most, direction, 1 / factor)


def shifted_top1(predictions: Predictions, direction: str, factor: int) -> float | None:
    """``expected_top1`` on the ``long_tail`` of a factor; None where there is none.

    Where weights of experts were learnt on test images, they are those for this test set; None without these.
    """
    counts = long_tail(predictions.totals, predictions.train_counts, direction, factor)
    if counts is None:
        return None
    if weights := predictions.expert_weights:
        if (own := weights.get(f"{direction}{factor}")) is None:
            return None
        predictions = weighted(predictions, own)
    return expected_top1(predictions.accuracies, counts)

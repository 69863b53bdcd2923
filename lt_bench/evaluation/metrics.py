"""The metrics: one table, name -> function of predictions and what a table must know of it.

A new metric is one function with one line above it; records that were made before it have it where their predictions
are there, because all metrics can be computed again from those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from lt_bench.evaluation import shifted
from lt_bench.evaluation.adjustment import adjusted_as_chosen
from lt_bench.evaluation.calibration import (
    adaptive_calibration_error,
    confidences,
    expected_calibration_error,
    negative_log_likelihood,
)
from lt_bench.evaluation.predictions import LOGITS, Predictions
from lt_bench.evaluation.selective import area_under_risk_coverage, selective_accuracy
from lt_bench.evaluation.shots import GROUPS, shot_groups

Function = Callable[[Predictions], Any]
FRACTION, COUNT = "%", "images"  # units: fractions in [0, 1], which tables show in percent; whole numbers from 0
HEADLINES = {  # what tables show of each task; the last is of all classes, as the title says
    "classification": ("many", "medium", "few", "top1"),
    "segmentation": ("many", "medium", "few", "miou"),
}
OF_IMAGES, OF_PIXELS = {"task": "classification"}, {"task": "segmentation"}


class Metric(NamedTuple):
    """A function of predictions, and how its value is shown.

    ``column``: its title in tables; ``unit``: "%" for fractions in [0, 1], otherwise a word; ``better``: "higher",
    "lower", or "" where neither is. ``needs`` names sets of logits without which it is not known; ``task`` is the only
    one that it is for, if there is one. One that is ``per_class`` is a list indexed by class id. An ``optional`` value,
    or entry of a list, may be None although what it needs is there: the accuracy of a class without test images. One
    that is not ``recorded`` is computed where it is asked for, and stands in no record.
    """

    function: Function
    column: str
    unit: str
    better: str
    task: str | None = None
    needs: tuple[str, ...] = ()
    optional: bool = False
    per_class: bool = False
    recorded: bool = True


METRICS: dict[str, Metric] = {}


def metric(
    name: str, *, column: str | None = None, unit: str = FRACTION, better: str = "higher", **more: Any
) -> Callable[[Function], Function]:
    """Enter the function below it into ``METRICS``; ``more`` are further fields of ``Metric``.

    Raises ValueError where name or column are taken.
    """

    def enter(function: Function) -> Function:
        new = Metric(function, column or name, unit, better, **more)
        if name in METRICS or new.column in {other.column for other in METRICS.values()}:
            raise ValueError(f"there is a metric {name!r} or a column {new.column!r} already")
        METRICS[name] = new
        return function

    return enter


def scalars() -> list[str]:
    """The names of the metrics that are one number, in the order of the table."""
    return [name for name, one in METRICS.items() if not one.per_class]


def recorded() -> list[str]:
    """The names of the metrics that new records have."""
    return [name for name, one in METRICS.items() if one.recorded]


def evaluate(predictions: Predictions, names: Collection[str] | None = None) -> dict[str, Any]:
    """The metrics of predictions, ready for JSON: those that are recorded, or those of some names, of their task.

    What cannot be known, because the predictions lack what it needs, is left out.
    Raises ValueError for an unknown group rule.
    """
    return {
        name: one.function(predictions)
        for name, one in METRICS.items()
        if name in (recorded() if names is None else names)
        and one.task in (None, predictions.task)
        and predictions.logits_by_name.keys() >= set(one.needs)
    }


def headline(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics that tables show of a record with these, by its task; a value of NaN stands for none."""
    value = metrics.get("miou")
    return HEADLINES["classification" if value is None or value != value else "segmentation"]


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


def group_accuracy(predictions: Predictions, group: str) -> float | None:
    """Mean accuracy of the tested classes of a shot group, in segmentation mean IoU; None where it has none.

    Source: Liu et al., CVPR 2019.  Deviation: an empty group is None, the authors' code says 0.
    """
    accuracies = predictions.scores[shot_groups(predictions.train_counts, predictions.group_rule)[group]]
    known = accuracies[~np.isnan(accuracies)]
    return float(known.mean()) if known.size else None


@metric("top1", column="all", **OF_IMAGES)
def top1(predictions: Predictions) -> float:
    """Fraction of images predicted right: images count alike."""
    return float(predictions.hits.sum() / predictions.totals.sum())


@metric("top5", column="top-5", needs=(LOGITS,), optional=True, **OF_IMAGES)
def top5(predictions: Predictions) -> float | None:
    """Fraction of images whose class is among the five largest logits; None for at most five classes."""
    known = predictions.logits.shape[1] > 5
    return top_k_accuracy(predictions.logits, predictions.labels, 5) if known else None


@metric("macro", **OF_IMAGES)
def macro(predictions: Predictions) -> float:
    """Mean accuracy of the tested classes: classes count alike."""
    return float(predictions.tested.mean())


@metric("many", optional=True)
def many(predictions: Predictions) -> float | None:
    """``group_accuracy`` of the classes with many training images."""
    return group_accuracy(predictions, "many")


@metric("medium", optional=True)
def medium(predictions: Predictions) -> float | None:
    """``group_accuracy`` of the classes between many and few."""
    return group_accuracy(predictions, "medium")


@metric("few", optional=True)
def few(predictions: Predictions) -> float | None:
    """``group_accuracy`` of the classes with few training images."""
    return group_accuracy(predictions, "few")


@metric("group_std", column="std", better="lower", optional=True)
def std(predictions: Predictions) -> float | None:
    """``group_std`` of the three groups, the lower the more balanced."""
    return group_std(*(group_accuracy(predictions, group) for group in GROUPS))


@metric("ece", column="ECE", better="lower", needs=(LOGITS,), **OF_IMAGES)
def ece(predictions: Predictions) -> float:
    """``expected_calibration_error`` of the largest softmax probabilities."""
    return expected_calibration_error(confidences(predictions.logits), predictions.correct)


@metric("per_class_accuracy", optional=True, per_class=True, **OF_IMAGES)
def per_class_accuracy(predictions: Predictions) -> list[float | None]:
    """Accuracy of each class."""
    return [None if np.isnan(accuracy) else float(accuracy) for accuracy in predictions.accuracies]


@metric("test_counts", unit=COUNT, better="", per_class=True, **OF_IMAGES)
def test_counts(predictions: Predictions) -> list[int]:
    """Test images of each class."""
    return [int(count) for count in predictions.totals]


@metric("train_counts", unit=COUNT, better="", per_class=True)
def train_counts(predictions: Predictions) -> list[int]:
    """Training images of each class."""
    return [int(count) for count in predictions.train_counts]


@metric("worst_class", column="worst class", **OF_IMAGES)
def worst_class(predictions: Predictions) -> float:
    """Lowest accuracy of a tested class.  Source: Du and Wu, CVPR 2023 ("lowest recall").  Deviation: none."""
    return float(predictions.tested.min())


@metric("harmonic_mean", column="harmonic mean", **OF_IMAGES)
def harmonic_mean(predictions: Predictions) -> float:
    """n / sum(1 / accuracy) over the n tested classes; its limit, 0, where one of them is 0.

    Source: Du and Wu, CVPR 2023.  Deviation: none.
    """
    tested = predictions.tested
    return float(len(tested) / (1 / tested).sum()) if tested.all() else 0.0


@metric("nll", column="NLL", unit="nats", better="lower", needs=(LOGITS,), **OF_IMAGES)
def nll(predictions: Predictions) -> float:
    """``negative_log_likelihood`` of the labels."""
    return negative_log_likelihood(predictions.logits, predictions.labels)


@metric("balanced_error", column="balanced error", better="lower", **OF_IMAGES)
def balanced_error(predictions: Predictions) -> float:
    """Mean error of the tested classes, 1 - macro.  Source: Menon et al., ICLR 2021, section 2.  Deviation: none."""
    return 1 - macro(predictions)


@metric("geometric_mean", column="geometric mean", recorded=False, **OF_IMAGES)
def geometric_mean(predictions: Predictions) -> float:
    """The n-th root of the product of the n tested classes' accuracies; 0 where one of them is 0.

    Source: Kubat et al., Machine Learning 1998, for two classes.  Deviation: n classes, as usual.
    """
    tested = predictions.tested
    return float(np.exp(np.log(tested).mean())) if tested.all() else 0.0


@metric("adaptive_ece", column="adaptive ECE", better="lower", needs=(LOGITS,), recorded=False, **OF_IMAGES)
def adaptive_ece(predictions: Predictions) -> float:
    """``adaptive_calibration_error`` of the largest softmax probabilities."""
    return adaptive_calibration_error(confidences(predictions.logits), predictions.correct)


@metric("aurc", column="AURC", better="lower", needs=(LOGITS,), recorded=False, **OF_IMAGES)
def aurc(predictions: Predictions) -> float:
    """``area_under_risk_coverage`` by the largest softmax probabilities."""
    return area_under_risk_coverage(confidences(predictions.logits), predictions.correct)


@metric("top1_at_80", column="at 80 % coverage", needs=(LOGITS,), recorded=False, **OF_IMAGES)
def top1_at_80(predictions: Predictions) -> float:
    """``selective_accuracy`` of the 80 % of images with the largest softmax probabilities."""
    return selective_accuracy(confidences(predictions.logits), predictions.correct, 0.8)


@metric("adjusted_top1", column="adjusted", needs=(LOGITS,), optional=True, recorded=False, **OF_IMAGES)
def adjusted_top1(predictions: Predictions) -> float | None:
    """``top1`` after ``adjusted_as_chosen``; None where there are no predictions on validation images."""
    changed = adjusted_as_chosen(predictions)
    return None if changed is None else top1(changed)


@metric("adjusted_few", column="adjusted few", needs=(LOGITS,), optional=True, recorded=False, **OF_IMAGES)
def adjusted_few(predictions: Predictions) -> float | None:
    """``few`` after ``adjusted_as_chosen``; None where there are no predictions on validation images."""
    changed = adjusted_as_chosen(predictions)
    return None if changed is None else few(changed)


def _shifted_top1(direction: str, factor: int) -> Function:
    def expected(predictions: Predictions) -> float | None:
        """``shifted_top1`` on a long-tailed test set."""
        return shifted.shifted_top1(predictions, direction, factor)

    return expected


for _direction in shifted.DIRECTIONS:
    for _factor in shifted.FACTORS:
        _name, _column = f"{_direction}{_factor}", f"{_direction} {_factor}"
        metric(_name, column=_column, optional=True, recorded=False, **OF_IMAGES)(_shifted_top1(_direction, _factor))


@metric("miou", column="mIoU", optional=True, **OF_PIXELS)
def miou(predictions: Predictions) -> float | None:
    """Mean IoU of the classes that occur or are predicted, over all pixels together; None where there are none."""
    return None if np.isnan(predictions.ious).all() else float(np.nanmean(predictions.ious))


@metric("pixel_accuracy", column="pixel accuracy", optional=True, **OF_PIXELS)
def pixel_accuracy(predictions: Predictions) -> float | None:
    """Fraction of labelled pixels predicted right; None where there are none."""
    pixels = predictions.totals.sum()
    return float(predictions.hits.sum() / pixels) if pixels else None


@metric("mean_accuracy", column="mean accuracy", optional=True, **OF_PIXELS)
def mean_accuracy(predictions: Predictions) -> float | None:
    """Mean of the occurring classes' fractions of pixels predicted right; None where there are none."""
    return float(predictions.tested.mean()) if len(predictions.tested) else None


@metric("per_class_iou", optional=True, per_class=True, **OF_PIXELS)
def per_class_iou(predictions: Predictions) -> list[float | None]:
    """IoU of each class."""
    return [None if np.isnan(iou) else float(iou) for iou in predictions.ious]

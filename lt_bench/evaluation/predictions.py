"""Predictions: what a run said of its test images, and the file from which every metric can be computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lt_bench.files import atomic_writer, read_arrays

LOGITS = "logits"  # the set of logits that is evaluated; NAME of a further one is the array logits.NAME of the file
CONFUSION = "confusion"
WEIGHTS = "expert_weights."  # in the file, before the names of the test sets that weights of experts are for
BY_IMAGE = "confusion_by_image"
VALIDATION = "validation."  # in the file, before the names of the arrays of held-out training images


def _no_labels() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What metrics are computed from: named sets of logits with labels, or confusion counts.

    ``logits_by_name``: (M, C) float32 each, "logits" is the one that is evaluated, others are for metrics that need
    them; ``labels`` (M,) int64. Where these are too many to keep, ``confusion`` (C, C) int64 stands for both: the count
    per (true class, predicted class). Of pixels it is counted by image: ``by_image`` (K, 4) int64 has rows (image, true
    class, predicted class, pixels), and ``confusion`` their sum. ``train_counts`` (C,) int64, of pixels the number of
    images with each class; ``class_names`` C words or None;
    ``validation`` are the predictions of the same run on its validation images, where it has some. Where weights of
    experts were learnt on test images, ``expert_weights`` has them by test set, (K,) each; those of "uniform" made what
    is evaluated.
    Building one casts the arrays, and raises ValueError for what is not finite or does not fit together.
    """

    logits_by_name: Mapping[str, np.ndarray] = field(default_factory=dict)
    labels: np.ndarray = field(default_factory=_no_labels)
    train_counts: np.ndarray
    group_rule: str
    class_names: tuple[str, ...] | None = None
    confusion: np.ndarray | None = None
    by_image: np.ndarray | None = None
    validation: Predictions | None = None
    expert_weights: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = np.asarray(self.train_counts)
        cast = {name: np.asarray(logits, dtype=np.float32) for name, logits in self.logits_by_name.items()}
        if self.by_image is not None:
            object.__setattr__(self, "by_image", _rows(self.by_image, len(counts)))
            total = _sum(self.by_image, len(counts))
            if self.confusion is not None and not np.array_equal(self.confusion, total):
                raise ValueError("confusion is not the sum of what is counted by image")
            object.__setattr__(self, "confusion", total)
        if self.confusion is None:
            if LOGITS not in cast:
                raise ValueError(f"no set of logits is named {LOGITS!r}")
            for name, logits in cast.items():
                _check(name, logits, np.asarray(self.labels), counts)
            object.__setattr__(self, "labels", np.asarray(self.labels).astype(np.int64))
        else:
            cells = np.asarray(self.confusion)
            if cast or len(self.labels) or cells.shape != 2 * counts.shape or cells.dtype.kind not in "iu":
                raise ValueError("confusion counts are whole numbers (C, C) and stand instead of logits and labels")
            object.__setattr__(self, "confusion", cells.astype(np.int64))
        if self.class_names is not None and len(self.class_names) != len(counts):
            raise ValueError(f"expected {len(counts)} class names, found {len(self.class_names)}")
        object.__setattr__(self, "logits_by_name", cast)
        object.__setattr__(self, "train_counts", counts.astype(np.int64))
        weights = {name: np.asarray(one, dtype=np.float64) for name, one in self.expert_weights.items()}
        if any(one.ndim != 1 or not np.isfinite(one).all() for one in weights.values()):
            raise ValueError("weights of experts are finite numbers, one for each")
        object.__setattr__(self, "expert_weights", weights)
        if self.validation is not None and not np.array_equal(self.validation.train_counts, self.train_counts):
            raise ValueError("predictions on validation images are of the same run: its train_counts differ")

    @property
    def task(self) -> str:
        """What was predicted: "classification" of images, or "segmentation", of pixels, which are counted by image."""
        return "classification" if self.by_image is None else "segmentation"

    @property
    def logits(self) -> np.ndarray:
        """The logits that are evaluated, (M, C); KeyError where there are only counts."""
        return self.logits_by_name[LOGITS]

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class of the largest logit of every image, (M,) int64; of equal ones the first."""
        return self.logits.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """Whether each image is predicted right, (M,) bool."""
        found: np.ndarray = self.predicted == self.labels
        return found

    @cached_property
    def cells(self) -> np.ndarray:
        """Number of images per (true class, predicted class), (C, C) int64."""
        if self.confusion is not None:
            return self.confusion
        return confusion_matrix(self.labels, self.predicted, len(self.train_counts))

    @cached_property
    def totals(self) -> np.ndarray:
        """Test images of each class, (C,) int64."""
        if self.confusion is not None:
            return self.confusion.sum(axis=1)
        return np.bincount(self.labels, minlength=len(self.train_counts))

    @cached_property
    def hits(self) -> np.ndarray:
        """Test images of each class that are predicted right, (C,) int64."""
        if self.confusion is not None:
            return self.confusion.diagonal()
        return np.bincount(self.labels[self.labels == self.predicted], minlength=len(self.train_counts))

    @cached_property
    def accuracies(self) -> np.ndarray:
        """Fraction of each class's test images predicted right, (C,) float64; NaN for a class without images."""
        return np.divide(self.hits, self.totals, out=np.full(len(self.totals), np.nan), where=self.totals > 0)

    @cached_property
    def ious(self) -> np.ndarray:
        """Of each class, the pixels that are and are predicted as it, of those that are one of both, (C,) float64.

        NaN for a class that neither occurs nor is predicted.
        Source: Everingham et al., IJCV 2010.  Deviation: none.
        """
        union = self.totals + self.cells.sum(axis=0) - self.hits
        return np.divide(self.hits, union, out=np.full(len(union), np.nan), where=union > 0)

    @property
    def scores(self) -> np.ndarray:
        """How well each class is predicted, (C,) in [0, 1] or NaN: its accuracy, in segmentation its IoU."""
        return self.accuracies if self.by_image is None else self.ious

    @property
    def score_name(self) -> str:
        """What ``scores`` are: "accuracy" or "IoU"."""
        return "accuracy" if self.by_image is None else "IoU"

    @property
    def counted(self) -> str:
        """What ``cells`` count: "images" or "pixels"."""
        return "images" if self.by_image is None else "pixels"

    @property
    def tested(self) -> np.ndarray:
        """The accuracies of the classes that have test images, at most (C,)."""
        return self.accuracies[self.totals > 0]


def _check(name: str, logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> None:
    """ValueError if one set of logits, the labels and the counts of training images do not fit together."""
    if logits.ndim != 2 or not logits.size or labels.shape != logits.shape[:1] or counts.shape != logits.shape[1:]:
        raise ValueError(
            f"expected {name} (M, C), labels (M,) and train_counts (C,) with M, C >= 1; "
            f"found {logits.shape}, {labels.shape}, {counts.shape}"
        )
    if labels.dtype.kind not in "iu" or counts.dtype.kind not in "iu":
        raise ValueError(f"labels and train_counts must be integers, found {labels.dtype} and {counts.dtype}")
    if labels.min() < 0 or labels.max() >= len(counts):
        raise ValueError(f"labels must lie in 0..{len(counts) - 1}, found {labels.min()}..{labels.max()}")
    if broken := int((~np.isfinite(logits).all(axis=1)).sum()):
        raise ValueError(f"{name} must be finite, found NaN or infinity in {broken} of {len(logits)} rows")


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Number of images per (true class, predicted class), (M,), (M,) -> (C, C) int64."""
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def _rows(by_image: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts by image as int64; ValueError for what is none."""
    rows = np.asarray(by_image)
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iu" or not num_classes:
        raise ValueError("confusion by image is whole numbers (K, 4): image, true class, predicted class, pixels")
    if rows.size and (rows.min() < 0 or rows[:, 1:3].max() >= num_classes):
        raise ValueError(f"confusion by image has counts from 0 of classes 0..{num_classes - 1}")
    return rows.astype(np.int64)


def _sum(by_image: np.ndarray, num_classes: int) -> np.ndarray:
    """The confusion of all images together, (K, 4) -> (C, C) int64."""
    cells = np.zeros(num_classes**2, dtype=np.int64)
    np.add.at(cells, by_image[:, 1] * num_classes + by_image[:, 2], by_image[:, 3])
    return cells.reshape(num_classes, num_classes)


def arrays_of(predictions: Predictions) -> dict[str, np.ndarray]:
    """Predictions as named arrays, which ``from_arrays`` reads."""
    arrays = _measured(predictions)
    arrays |= {"train_counts": predictions.train_counts, "group_rule": np.array(predictions.group_rule)}
    if predictions.class_names is not None:
        arrays["class_names"] = np.array(predictions.class_names, dtype=np.str_)
    arrays |= {WEIGHTS + name: weights for name, weights in predictions.expert_weights.items()}
    if predictions.validation is not None:
        arrays |= {VALIDATION + name: array for name, array in _measured(predictions.validation).items()}
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Predictions:
    """The predictions that ``arrays_of`` gave; ValueError for arrays that do not fit together, or lack one."""
    try:
        names = arrays["class_names"].tolist() if "class_names" in arrays else None
        of_run = {"train_counts": arrays["train_counts"], "group_rule": str(arrays["group_rule"])}
        of_run["class_names"] = None if names is None else tuple(names)
        held_out = _below(arrays, VALIDATION)
        validation = _read(held_out, of_run) if held_out else None
        return _read(arrays, of_run | {"validation": validation, "expert_weights": _below(arrays, WEIGHTS)})
    except KeyError as error:
        raise ValueError(f"there is no array {error}") from None


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write a predictions file (.npz without pickles) in one piece."""
    with atomic_writer(path) as file:
        np.savez(file, **arrays_of(predictions))  # type: ignore[arg-type]  # numpy's stub takes them for its allow_pickle


def load_predictions(path: str | Path) -> Predictions:
    """Read a predictions file; ValueError naming the file if it is damaged or lacks an array."""
    try:
        return from_arrays(read_arrays(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy, zipfile and zlib have a dozen kinds for a damaged file
        raise ValueError(f"{path} is not a predictions file: {error}") from error


def _measured(predictions: Predictions) -> dict[str, np.ndarray]:
    """The arrays that hold what was said of the images of one part."""
    if predictions.by_image is not None:
        return {BY_IMAGE: predictions.by_image}
    if predictions.confusion is not None:
        return {CONFUSION: predictions.confusion}
    logits = {_array(name): logits for name, logits in predictions.logits_by_name.items()}
    return {**logits, "labels": predictions.labels}


def _read(arrays: Mapping[str, np.ndarray], of_run: Mapping[str, Any]) -> Predictions:
    """The predictions of one part, from the arrays that ``_measured`` gave it."""
    if BY_IMAGE in arrays:
        return Predictions(by_image=arrays[BY_IMAGE], **of_run)
    if CONFUSION in arrays:
        return Predictions(confusion=arrays[CONFUSION], **of_run)
    logits = {LOGITS: arrays[LOGITS]} | _below(arrays, f"{LOGITS}.")
    return Predictions(logits_by_name=logits, labels=arrays["labels"], **of_run)


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)}


def _array(name: str) -> str:
    return name if name == LOGITS else f"{LOGITS}.{name}"

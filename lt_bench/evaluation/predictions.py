"""The predictions file: logits and what is needed to compute every metric again."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lt_bench.evaluation.metrics import Metrics, check_arrays, evaluate
from lt_bench.files import atomic_writer


@dataclass(frozen=True)
class Predictions:
    """Logits (M, C) float32, labels (M,) and train_counts (C,) int64, the group rule, and class names if known."""

    logits: np.ndarray
    labels: np.ndarray
    train_counts: np.ndarray
    group_rule: str
    class_names: tuple[str, ...] | None = None

    def metrics(self) -> Metrics:
        """The metrics of these predictions."""
        return evaluate(self.logits, self.labels, self.train_counts, self.group_rule)


def save_predictions(
    path: str | Path,
    logits: np.ndarray,
    labels: np.ndarray,
    train_counts: np.ndarray,
    group_rule: str,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a predictions file (.npz without pickles) in one piece.

    Shapes: logits (M, C), saved as float32; labels (M,); train_counts (C,); class_names C words or None.
    Raises ValueError for logits that are not finite and for arrays that do not fit together.
    """
    logits, labels, train_counts = check_arrays(logits, labels, train_counts)
    arrays = {"logits": logits, "labels": labels, "train_counts": train_counts, "group_rule": np.array(group_rule)}
    if class_names is not None:
        if len(class_names) != len(train_counts):
            raise ValueError(f"expected {len(train_counts)} class names, found {len(class_names)}")
        arrays["class_names"] = np.array(class_names, dtype=np.str_)
    with atomic_writer(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the arrays for its allow_pickle


def load_predictions(path: str | Path) -> Predictions:
    """Read a predictions file; ValueError naming the file if it is damaged or lacks an array."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays["class_names"].tolist() if "class_names" in arrays else None
            logits, labels, train_counts = check_arrays(arrays["logits"], arrays["labels"], arrays["train_counts"])
            rule = str(arrays["group_rule"])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a predictions file: {error}") from error
    return Predictions(logits, labels, train_counts, rule, None if names is None else tuple(names))


def metrics_from_file(path: str | Path) -> Metrics:
    """The metrics computed again from a predictions file."""
    return load_predictions(path).metrics()

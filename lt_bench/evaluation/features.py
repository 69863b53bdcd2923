"""Features of the images that a run was evaluated on, kept where ``evaluation.save_features`` asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_bench.files import atomic_writer, read_arrays

FEATURES = "features.npz"  # beside a run's record


class Features(NamedTuple):
    """Features (M, D) float32 of the frozen encoder, before any head, and labels (M,) int64, in predictions' order."""

    features: np.ndarray
    labels: np.ndarray


def without_features(folder: Path) -> str:
    """What to do about a finished run that has none."""
    return (
        f"{folder} holds no features: delete {folder / 'record.json'} and type the run again with "
        "evaluation.save_features=true; nothing is trained again"
    )


def save_features(path: Path, found: Features) -> None:
    """Write a file of features (.npz without pickles) in one piece."""
    with atomic_writer(path) as file:
        np.savez(file, features=found.features.astype(np.float32), labels=found.labels.astype(np.int64))


def load_features(path: Path) -> Features:
    """Read a file of features; OSError where it cannot be read, ValueError naming it where it is damaged."""
    try:
        arrays = read_arrays(path)
        found = Features(arrays["features"], arrays["labels"])
        fits = found.features.ndim == 2 and found.labels.shape == found.features.shape[:1] and found.features.size
        if not fits or found.features.dtype.kind != "f" or found.labels.dtype.kind not in "iu":
            raise ValueError(f"expected features (M, D) and labels (M,), found {[a.shape for a in arrays.values()]}")
        if not np.isfinite(found.features).all():
            raise ValueError("features must be finite")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy, zipfile and zlib have a dozen kinds for a damaged file
        raise ValueError(f"{path} is not a file of features: {error}") from error
    return found

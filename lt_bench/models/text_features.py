"""Features of class names in the space of images, as CLIP's text tower gives them: a file that is made once.

The file is an .npz of arrays without objects: ``names`` (C,), ``features`` (C, E) of unit length in the joint space,
``projection`` (D, E) of the image tower, ``scale``, by which CLIP multiplies cosines, and as text ``template``,
``model`` and ``weights_sha256``.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.errors import DataError

ARRAYS, SCALE = ("names", "features", "projection"), "scale"


def semantic_rows(features: Tensor, projection: Tensor) -> Tensor:
    """Class vectors (C, D) of unit length from text features (C, E) of any length.

    They are taken back into the space before the projection (D, E) by its transpose.
    Source: Shi et al., ICML 2024 (LIFT), authors' code.  Deviation: none.
    """
    return F.normalize(F.normalize(features, dim=1) @ projection.T, dim=1)


class TextFeatures(NamedTuple):
    """Features (C, E) of the classes of a data set, by number, the projection (D, E), and the scale of their cosines.

    A file of an older version has no scale: None.
    """

    features: Tensor
    projection: Tensor
    scale: float | None


def text_rows(path: str, class_names: Sequence[str] | None, count: int, width: int) -> Tensor:
    """The class vectors (C, D) of the classes of a data set; see ``text_features``."""
    features, projection, _ = text_features(path, class_names, count, width)
    return semantic_rows(features, projection)


def text_features(path: str, class_names: Sequence[str] | None, count: int, width: int) -> TextFeatures:
    """What a file has of the classes of a data set, found by name; ``width`` is D.

    Raises DataError for a file that is none of text features, or of another network, and for names that are not in it.
    """
    names, features, projection, scale = _arrays(path)
    if features.ndim != 2 or projection.ndim != 2 or features.shape != (len(names), projection.shape[1]):
        raise DataError(f"{path}: features {features.shape} do not fit {len(names)} names and {projection.shape}")
    if len(projection) != width:
        raise DataError(
            f"{path} is of a network of {len(projection):,} features, and the one here has {width:,}; make it anew "
            "with the model that the backbone's weights are of"
        )
    if class_names is None:
        raise DataError(f"{path} has features of names, and the data set has no class names; take none of it here")
    place = {spoken(name): number for number, name in enumerate(names)}
    missing = [name for name in class_names if spoken(name) not in place]
    if missing or len(class_names) != count:
        raise DataError(f"{path} has no features of {', '.join(missing[:5]) or f'all {count} classes'}; make it anew")
    rows = torch.from_numpy(features)[[place[spoken(name)] for name in class_names]]
    return TextFeatures(rows, torch.from_numpy(projection), scale)


def _arrays(path: str) -> tuple[list[str], np.ndarray, np.ndarray, float | None]:
    """Names, features and projection as float32, and the scale of a file; DataError where they are none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names, *numbers = (file[name] for name in ARRAYS)
            scale = float(file[SCALE]) if SCALE in file.files else None
        if names.ndim != 1 or names.dtype.kind != "U":
            raise ValueError("names is no list of words")
        for key, array in zip(ARRAYS[1:], numbers, strict=True):
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"{key} holds other things than finite numbers")
        if scale is not None and not 0 < scale < math.inf:
            raise ValueError(f"{SCALE} is a number above 0, not {scale}")
    except (OSError, AttributeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path} is no file of text features ({what}); make one with lt_bench.models.clip_text.write"
        ) from error
    features, projection = (array.astype(np.float32) for array in numbers)
    return names.tolist(), features, projection, scale


def spoken(name: str) -> str:
    """A class name as it stands in a sentence."""
    return name.replace("_", " ")

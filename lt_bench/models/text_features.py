"""Features of class names in the space of images, as CLIP's text tower gives them: a file that is made once.

The file is an .npz of arrays without objects: ``names`` (C,), ``features`` (C, E) of unit length in the joint space,
``projection`` (D, E) of the image tower, ``template``, ``model`` and ``weights_sha256`` as text.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.errors import DataError

ARRAYS = ("names", "features", "projection")


def semantic_rows(features: Tensor, projection: Tensor) -> Tensor:
    """Class vectors (C, D) of unit length from text features (C, E) of any length.

    They are taken back into the space before the projection (D, E) by its transpose.
    Source: Shi et al., ICML 2024 (LIFT), authors' code.  Deviation: none.
    """
    return F.normalize(F.normalize(features, dim=1) @ projection.T, dim=1)


def text_rows(path: str, class_names: Sequence[str] | None, count: int) -> Tensor:
    """The class vectors (C, D) of the classes of a data set, found by name in a file.

    Raises DataError for a file that is none of text features, and for names that are not in it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names, features, projection = (file[name] for name in ARRAYS)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path} is no file of text features ({what}); make one with lt_bench.models.clip_text.write"
        ) from error
    if features.ndim != 2 or projection.ndim != 2 or features.shape != (len(names), projection.shape[1]):
        raise DataError(f"{path}: features {features.shape} do not fit {len(names)} names and {projection.shape}")
    if class_names is None:
        raise DataError(f"{path} has features of names, and the data set has no class names; set start=class_mean")
    rows = semantic_rows(torch.from_numpy(features).float(), torch.from_numpy(projection).float())
    place = {spoken(str(name)): number for number, name in enumerate(names)}
    missing = [name for name in class_names if spoken(name) not in place]
    if missing or len(class_names) != count:
        raise DataError(f"{path} has no features of {', '.join(missing[:5]) or f'all {count} classes'}; make it anew")
    return rows[[place[spoken(name)] for name in class_names]]


def spoken(name: str) -> str:
    """A class name as it stands in a sentence."""
    return name.replace("_", " ")

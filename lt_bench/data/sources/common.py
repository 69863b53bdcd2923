"""What all sources of images in memory share: the result, checksums and downloads."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.errors import DataError
from lt_bench.files import temporary_folder
from lt_bench.models.torchvision_build import require_torchvision


class ImageArrays(NamedTuple):
    """A data set in memory: images (N, 3, H, W) uint8 and labels (N,) int64 for training and test, in file order.

    ``classes`` are the names of the classes by number, None where they have none.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    num_classes: int
    classes: list[str] | None = None

    def parts(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Images and labels by part."""
        return {"train": (self.train_images, self.train_labels), "test": (self.test_images, self.test_labels)}


class Scenes(NamedTuple):
    """Images (N, 3, H, W) uint8 and their masks (N, H, W) uint8: a class for every pixel, or ``NO_LABEL``."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    def classes(self, num_classes: int) -> NDArray[np.bool_]:
        """Which classes each image has pixels of, (N, C)."""
        return np.stack([present(mask, num_classes) for mask in self.masks])


def present(mask: NDArray[np.uint8], num_classes: int) -> NDArray[np.bool_]:
    """Whether a mask has pixels of each class, (C,)."""
    return np.bincount(mask.ravel(), minlength=num_classes)[:num_classes] > 0


class SceneArrays(NamedTuple):
    """A data set of scenes in memory; ``classes`` are the names of the classes by number."""

    train: Scenes
    test: Scenes
    num_classes: int
    classes: list[str]

    def parts(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Images and masks by part."""
        return {"train": (self.train.images, self.train.masks), "test": (self.test.images, self.test.masks)}


def data_error(problem: str, url: str, path: Path) -> DataError:
    """The error for ``problem``, with the address of the file, its place, and the keys that set another place."""
    return DataError(
        f"{problem}. Fetch {url} and put it at {path.resolve()}, or point to a folder that holds it: dataset.root=DIR "
        "for this data set, data_dir=DIR for the folder of all data sets"
    )


def verify(data: bytes, algorithm: Literal["md5", "sha256"], expected: str) -> None:
    """Raise ValueError unless the digest of ``data`` is ``expected`` (hexadecimal)."""
    found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(f"{algorithm} is {found}, expected {expected}: damaged, cut off or another file")


def fetch(url: str, path: Path, md5: str) -> None:
    """Download ``url`` to ``path``; the file has its name only once it is complete and its MD5 is right.

    Raises DataError when that fails.
    """
    require_torchvision()
    from torchvision.datasets.utils import download_url  # the only use of torchvision, so imported here

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path.parent, ".download-") as folder:
            download_url(url, str(folder), path.name, md5)
            os.replace(folder / path.name, path)
    except (OSError, RuntimeError, HTTPException) as error:
        raise data_error(f"{path.name} could not be downloaded ({error})", url, path) from error


def gunzip(data: bytes, most: int) -> bytes:
    """What a .gz file holds; ValueError where that is more than ``most`` bytes, OSError, EOFError for a damaged one."""
    with gzip.open(io.BytesIO(data)) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    return content


def grey_to_rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey images (N, H, W) as (N, 3, H, W), the same values in every channel."""
    return np.repeat(images[:, None], 3, axis=1)

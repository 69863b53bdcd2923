"""From an image in a file or in memory to what a network is evaluated on, for new images as for those of a run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from lt_bench.augment.described import interpolation
from lt_bench.augment.pipeline import Pipeline
from lt_bench.augment.resample import FILTERS, Interpolation
from lt_bench.config.dataset import Dataset
from lt_bench.config.settings import MOST_NUMBER
from lt_bench.data.batches.crops import CentralCrops
from lt_bench.data.files.image_file import LARGEST, StoredForm, opened
from lt_bench.data.files.rgb import PLAIN, SHOWN, BadImage, to_rgb
from lt_bench.files import read_bytes

LARGEST_SIDE, SMALLEST_SHARE = 2**13, 0.1  # of what a file may ask for: an image is resized to their quotient
ImageLike = str | os.PathLike[str] | Image.Image


@dataclass(frozen=True)
class Transform:
    """The preprocessing of evaluation: RGB by a rule, short side resized, middle of ``size`` pixels, normalised.

    ``share`` is ``size`` / short side, ``interpolation`` that of resizing; ``pixels`` is a rule of ``files.rgb``;
    ``stored_side`` and ``jpeg_quality`` are the form in which a run reads stored images, None as they are; ``mean`` and
    ``std`` are for colours from 0 to 1.
    """

    size: int
    share: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixels: str = SHOWN
    stored_side: int | None = None
    jpeg_quality: int | None = None
    interpolation: Interpolation = "bilinear"

    @classmethod
    def of(cls, dataset: Dataset, from_files: bool) -> Transform:
        """That of a data set: of files, the published evaluation, else whole images, resized to that."""
        size, mean, std = dataset.image_size, tuple(dataset.mean), tuple(dataset.std)
        how = interpolation(dataset)
        if not from_files:
            return cls(size, 1.0, mean, std, interpolation=how)
        return cls(size, dataset.crop_share, mean, std, dataset.pixels, dataset.short_side, dataset.jpeg_quality, how)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transform:
        """From the plain values of ``to_dict``; TypeError or ValueError for others."""
        found = cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        sides = {found.size, found.stored_side or 1, found.jpeg_quality or 1}
        if not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
            raise ValueError(f"sizes are whole numbers from 1 to {LARGEST_SIDE:,}")
        known = found.pixels in (PLAIN, SHOWN) and found.interpolation in FILTERS
        if not (SMALLEST_SHARE <= found.share <= 1 and known):
            raise ValueError(f"share {found.share}, pixels {found.pixels!r} or interpolation {found.interpolation!r}")
        if not all(abs(value) <= MOST_NUMBER for value in (*found.mean, *found.std)):
            raise ValueError("mean or std is no number")
        Pipeline((), found.mean, found.std)  # refuses what it cannot take
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @property
    def crops(self) -> CentralCrops:
        """How the middle is cut."""
        return CentralCrops(self.size, self.share, self.interpolation)

    def cut(self, image: ImageLike) -> Tensor:
        """An image, or the one in a file, as (size, size, 3) uint8; raises BadImage for what cannot be used."""
        if not isinstance(image, Image.Image):
            name = os.fspath(image)
            image = opened(_content(name), name)
        else:
            name = getattr(image, "filename", None) or "the image"
        form = StoredForm(self.stored_side, self.jpeg_quality, self.pixels)
        return self.crops.cut(np.asarray(form.apply(to_rgb(image, str(name), self.pixels))), 0)

    def normalised(self, images: Tensor) -> Tensor:
        """Images (B, size, size, 3) uint8 as a network takes them, (B, 3, size, size) float32."""
        return Pipeline((), self.mean, self.std).apply(images.permute(0, 3, 1, 2), [])

    def __call__(self, image: ImageLike) -> Tensor:
        """An image, or the one in a file, as a network takes it, (3, size, size) float32; raises BadImage."""
        found: Tensor = self.normalised(self.cut(image)[None])[0]
        return found


def _content(name: str) -> bytes:
    try:
        return read_bytes(Path(name), LARGEST)
    except (OSError, ValueError) as error:  # the latter for a null character in a name
        raise BadImage(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from error

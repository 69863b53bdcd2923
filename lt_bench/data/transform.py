"""From an image in a file or in memory to what a network is evaluated on, for new images as for those of a run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from lt_bench.augment.pipeline import Pipeline
from lt_bench.augment.resample import FILTERS, Interpolation
from lt_bench.config.dataset import Dataset
from lt_bench.config.evaluation import VIEWS
from lt_bench.config.settings import MOST_NUMBER
from lt_bench.data.batches.crops import CentralCrops, PlainCrops, plain_crops
from lt_bench.data.files.image_file import LARGEST, StoredForm, opened
from lt_bench.data.files.rgb import PLAIN, SHOWN, BadImage, to_rgb
from lt_bench.files import read_bytes

LARGEST_SIDE, SMALLEST_SHARE = 2**13, 0.1  # of what a file may ask for: an image is resized to their quotient
ImageLike = str | os.PathLike[str] | Image.Image


@dataclass(frozen=True)
class Transform:
    """The preprocessing of evaluation: RGB by a rule, short side resized, middle of ``size`` pixels, normalised.

    Where ``views`` are five or ten, see ``config.evaluation``, an image becomes so many crops instead of its middle.
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
    views: str = VIEWS[0]

    @classmethod
    def of(cls, dataset: Dataset, from_files: bool, plain: PlainCrops) -> Transform:
        """That of a data set whose images are evaluated by ``plain`` crops.

        Of files it is the published evaluation; others are resized to the size of the data set's own, and enlarged
        from that where several crops are.
        """
        size, share, how = plain.middle
        found = cls(size, share, tuple(dataset.mean), tuple(dataset.std), interpolation=how, views=plain.views)
        if not from_files:
            return found if plain is plain.middle else replace(found, stored_side=dataset.image_size)
        return replace(found, pixels=dataset.pixels, stored_side=dataset.short_side, jpeg_quality=dataset.jpeg_quality)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transform:
        """From the plain values of ``to_dict``; TypeError or ValueError for others."""
        found = cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        sides = {found.size, found.stored_side or 1, found.jpeg_quality or 1}
        if not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
            raise ValueError(f"sizes are whole numbers from 1 to {LARGEST_SIDE:,}")
        words = {"pixels": (PLAIN, SHOWN), "interpolation": FILTERS, "views": VIEWS}
        wrong = {name: values[name] for name, known in words.items() if getattr(found, name) not in known}
        if not SMALLEST_SHARE <= found.share <= 1 or wrong:
            raise ValueError(f"share {found.share}, {wrong}")
        check_colours(found.mean, found.std)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @property
    def crops(self) -> PlainCrops:
        """How an image is cut."""
        return plain_crops(self.size, self.share, self.interpolation, self.views)

    @property
    def short_side(self) -> int:
        """The pixels of the short side that is cut from."""
        return CentralCrops(self.size, self.share).short_side

    def cut(self, image: ImageLike) -> Tensor:
        """An image, or the one in a file, as (size, size, 3) uint8, of several crops (crops, size, size, 3).

        Raises BadImage for what cannot be used.
        """
        form = StoredForm(self.stored_side, self.jpeg_quality, self.pixels)
        return self.crops.cut(np.asarray(form.apply(as_rgb(image, self.pixels))), 0)

    def normalised(self, images: Tensor) -> Tensor:
        """Images as ``cut`` makes them, (B, ...) uint8, as a network takes them: float32, and colours before sides."""
        rows = images.flatten(0, -4).permute(0, 3, 1, 2)
        return Pipeline((), self.mean, self.std).apply(rows, []).unflatten(0, images.shape[:-3])

    def __call__(self, image: ImageLike) -> Tensor:
        """An image, or the one in a file, as a network takes it, (3, size, size) float32; raises BadImage.

        Of several crops it is (crops, 3, size, size).
        """
        found: Tensor = self.normalised(self.cut(image)[None])[0]
        return found


def read_image(name: str) -> Image.Image:
    """The image in a file as it is stored; raises BadImage, which names it."""
    try:
        return opened(read_bytes(Path(name), LARGEST), name)
    except (OSError, ValueError) as error:  # the latter for a null character in a name
        raise BadImage(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def as_rgb(image: ImageLike, pixels: str) -> Image.Image:
    """An image, or the one in a file, in RGB by a rule of ``files.rgb``; raises BadImage for what cannot be used."""
    if isinstance(image, Image.Image):
        return to_rgb(image, str(getattr(image, "filename", None) or "the image"), pixels)
    name = os.fspath(image)
    return to_rgb(read_image(name), name, pixels)


def check_colours(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Raise ValueError or TypeError for what is no mean or standard deviation of colours."""
    if not all(abs(value) <= MOST_NUMBER for value in (*mean, *std)):
        raise ValueError("mean or std is no number")
    Pipeline((), mean, std)  # refuses what it cannot take

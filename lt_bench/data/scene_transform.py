"""From an image of any size to what a network of scenes is evaluated on, for new images as for those of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_bench.augment.pipeline import Pipeline
from lt_bench.config.dataset import Dataset
from lt_bench.data.batches.scene_crops import fitted, resized
from lt_bench.data.files.rgb import PLAIN, SHOWN
from lt_bench.data.transform import LARGEST_SIDE, ImageLike, as_rgb, check_colours


@dataclass(frozen=True)
class SceneTransform:
    """The preprocessing of evaluation: RGB by a rule, fitted to a size as a whole, normalised.

    Where ``fit`` is true, the short side becomes ``size`` pixels and the long one four times as many at most; else
    images stay as they are. ``pixels`` is a rule of ``files.rgb``; ``mean`` and ``std`` are for colours from 0 to 1.
    """

    size: int
    fit: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixels: str = SHOWN

    @classmethod
    def of(cls, dataset: Dataset, from_files: bool) -> SceneTransform:
        """That of a data set."""
        mean, std = tuple(dataset.mean), tuple(dataset.std)
        return cls(dataset.image_size, from_files, mean, std, PLAIN if from_files else SHOWN)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SceneTransform:
        """From the plain values of ``to_dict``; TypeError or ValueError for others."""
        found = cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        if type(found.size) is not int or not 0 < found.size <= LARGEST_SIDE:
            raise ValueError(f"size is a whole number from 1 to {LARGEST_SIDE:,}")
        if type(found.fit) is not bool or found.pixels not in (PLAIN, SHOWN):
            raise ValueError(f"fit {found.fit}, pixels {found.pixels}")
        check_colours(found.mean, found.std)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def rgb(self, image: ImageLike) -> NDArray[np.uint8]:
        """An image, or the one in a file, (H, W, 3); raises BadImage for what cannot be used."""
        return np.asarray(as_rgb(image, self.pixels))

    def normalised(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Pixels (H, W, 3) as a network takes them, (3, h, w) float32."""
        size = fitted(pixels.shape[:2], self.size) if self.fit else pixels.shape[:2]
        rows: Tensor = Pipeline((), self.mean, self.std).apply(resized(pixels, *size).permute(2, 0, 1)[None], [])
        return rows[0]

    def __call__(self, image: ImageLike) -> Tensor:
        """An image, or the one in a file, as a network takes it, (3, h, w) float32; raises BadImage."""
        return self.normalised(self.rgb(image)).to(torch.float32)

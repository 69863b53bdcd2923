"""The augmented views that methods ask for by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_bench.augment.pipeline import Op, Pipeline
    from lt_bench.config import Dataset


def _plain(dataset: Dataset) -> list[Op]:
    return []


def _crop_flip(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.crop import CropWithPadding

    return [CropWithPadding(dataset.image_size, dataset.crop_padding), *_flip(dataset)]


def _simclr(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.color import ColorJitter, Grayscale
    from lt_bench.augment.crop import RandomResizedCrop

    smallest, largest = dataset.crop_scale
    brightness, contrast, saturation, hue = dataset.color_jitter
    return [
        RandomResizedCrop(dataset.image_size, scale=(smallest, largest)),
        *_flip(dataset),
        ColorJitter(brightness, contrast, saturation, hue, dataset.color_jitter_probability),
        Grayscale(dataset.grayscale_probability),
    ]


def _simclr_blur(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.blur import GaussianBlur

    # SimCLR's kernel is a tenth of the image; it must be odd and at least 3
    kernel = max(3, dataset.image_size // 10 // 2 * 2 + 1)
    return [*_simclr(dataset), GaussianBlur(kernel, (0.1, 2.0), 0.5)]


def _flip(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.crop import HorizontalFlip

    return [HorizontalFlip(0.5)] if dataset.horizontal_flip else []


VIEWS: dict[str, Callable[[Dataset], list[Op]]] = {
    "plain": _plain,
    "crop_flip": _crop_flip,
    "simclr": _simclr,
    "simclr_blur": _simclr_blur,
}


def build_view(name: str, dataset: Dataset) -> Pipeline:
    """The augmentation pipeline of a view for a data set.

    ``plain`` normalises only; ``crop_flip`` is He et al.'s (2016) CIFAR augmentation; ``simclr`` is Chen et al.'s
    (2020) without blur, as in the authors' code of SBCL; ``simclr_blur`` adds the blur. Raises ValueError for another
    name.
    """
    from lt_bench.augment.pipeline import Pipeline

    if name not in VIEWS:
        raise ValueError(f"unknown view {name!r}; there are {', '.join(VIEWS)}")
    return Pipeline(VIEWS[name](dataset), dataset.mean, dataset.std)

"""The augmented views that methods ask for by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lt_bench.errors import UsageError, renamed

if TYPE_CHECKING:
    from lt_bench.augment.pipeline import Op, Pipeline
    from lt_bench.augment.resample import Interpolation
    from lt_bench.config.dataset import Dataset

SSL = (0.1, 1.0)  # shares of the area in the self-supervised views of the long-tail literature
WIDE = (0.08, 1.0)  # torchvision's default shares of the area in a random resized crop


def _plain(dataset: Dataset) -> list[Op]:
    return []


def _crop_flip(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.crop import CropWithPadding

    if dataset.crop_padding is None:
        return _resized_crop_flip(dataset, WIDE)
    return [CropWithPadding(dataset.image_size, dataset.crop_padding), *_flip(dataset)]


def _simclr(dataset: Dataset) -> list[Op]:
    return _sim(dataset, tuple(dataset.crop_scale))


def _sim_wide(dataset: Dataset) -> list[Op]:
    return _sim(dataset, WIDE)


def _ssl(dataset: Dataset) -> list[Op]:
    return _sim(dataset, SSL, "bicubic")


def _ssl_bilinear(dataset: Dataset) -> list[Op]:
    return _sim(dataset, SSL)


def _sim(dataset: Dataset, scale: tuple[float, ...], interpolation: Interpolation = "bilinear") -> list[Op]:
    from lt_bench.augment.color import ColorJitter, Grayscale

    brightness, contrast, saturation, hue = dataset.color_jitter
    return [
        *_resized_crop_flip(dataset, scale, interpolation),
        ColorJitter(brightness, contrast, saturation, hue, dataset.color_jitter_probability),
        Grayscale(dataset.grayscale_probability),
    ]


def _simclr_blur(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.blur import GaussianBlur

    # SimCLR's kernel is a tenth of the image; it must be odd and at least 3
    kernel = max(3, dataset.image_size // 10 // 2 * 2 + 1)
    return [*_simclr(dataset), GaussianBlur(kernel, (0.1, 2.0), 0.5)]


def _sim_blur(dataset: Dataset, probability: float = 0.5) -> list[Op]:
    from lt_bench.augment.box_blur import BoxBlur

    return [*_simclr(dataset), BoxBlur((0.1, 2.0), probability)]


def _sim_blur_rare(dataset: Dataset) -> list[Op]:
    return _sim_blur(dataset, 0.2)


def _autoaugment_cutout(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.autoaugment import AutoAugment
    from lt_bench.augment.cutout import Cutout

    # the published hole of 16 pixels is half of CIFAR's 32
    return [*_crop_flip(dataset), AutoAugment(), Cutout(dataset.image_size // 2)]


def _cls(dataset: Dataset) -> list[Op]:
    return [*_jittered(dataset), _randaugment(dataset)]


def _rand(dataset: Dataset) -> list[Op]:
    return [*_sim_wide(dataset), _randaugment(dataset)]


def _sim_always(dataset: Dataset) -> list[Op]:
    return [*_jittered(dataset), *_grey_blur(dataset)]


def _cls_or_sim_always(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.either import Either

    return [*_jittered(dataset), Either([_randaugment(dataset)], _grey_blur(dataset))]


def _grey_blur(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.box_blur import BoxBlur
    from lt_bench.augment.color import Grayscale

    return [Grayscale(dataset.grayscale_probability), BoxBlur((0.1, 2.0), 0.5)]


def _clsstack(dataset: Dataset) -> list[Op]:
    return [*_sim_always(dataset), _randaugment(dataset)]


def _ssl_wide_blur(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.box_blur import BoxBlur

    return [*_sim(dataset, WIDE, "bicubic"), BoxBlur((0.1, 2.0), 0.5)]


def _jittered(dataset: Dataset) -> list[Op]:
    """A crop from 8 % of the area on, flip, and a jitter that is always done and leaves the hue alone."""
    from lt_bench.augment.color import ColorJitter

    brightness, contrast, saturation, _ = dataset.color_jitter
    return [*_resized_crop_flip(dataset, WIDE), ColorJitter(brightness, contrast, saturation, 0.0)]


def _randaugment(dataset: Dataset) -> Op:
    from lt_bench.augment.randaugment import RandAugment

    return RandAugment(dataset.randaugment_operations, dataset.randaugment_magnitude, 0.5)


def _boosted(dataset: Dataset) -> list[Op]:
    return [*_ssl(dataset), *_boost(1)]


def _boosted_twice(dataset: Dataset) -> list[Op]:
    return [*_ssl(dataset), *_boost(2)]


def _simclr_boosted(dataset: Dataset) -> list[Op]:
    return [*_simclr(dataset), *_boost(1)]


def _simclr_boosted_twice(dataset: Dataset) -> list[Op]:
    return [*_simclr(dataset), *_boost(2)]


def _ssl_wide_blur_boosted(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.boosted import BoostedRandAugment

    return [*_ssl_wide_blur(dataset), BoostedRandAugment(2, floor=0, random=True)]


def _boost(k: int) -> list[Op]:
    from lt_bench.augment.boosted import BoostedRandAugment

    return [BoostedRandAugment(k, floor=10 if k == 1 else 5, random=k > 1)]


def _resized_crop_flip(
    dataset: Dataset, scale: tuple[float, ...], interpolation: Interpolation = "bilinear"
) -> list[Op]:
    from lt_bench.augment.crop import RandomResizedCrop

    smallest, largest = scale
    crop = RandomResizedCrop(dataset.image_size, scale=(smallest, largest), interpolation=interpolation)
    return [crop, *_flip(dataset)]


def _flip(dataset: Dataset) -> list[Op]:
    from lt_bench.augment.crop import HorizontalFlip

    return [HorizontalFlip(0.5)] if dataset.horizontal_flip else []


VIEWS: dict[str, Callable[[Dataset], list[Op]]] = {
    "plain": _plain,
    "crop_flip": _crop_flip,
    "simclr": _simclr,
    "simclr_blur": _simclr_blur,
    "ssl": _ssl,
    "ssl_bilinear": _ssl_bilinear,
    "boosted": _boosted,
    "boosted_twice": _boosted_twice,
    "simclr_boosted": _simclr_boosted,
    "simclr_boosted_twice": _simclr_boosted_twice,
    "sim_blur": _sim_blur,
    "sim_blur_rare": _sim_blur_rare,
    "sim_wide": _sim_wide,
    "autoaugment_cutout": _autoaugment_cutout,
    "jitter": _jittered,
    "cls": _cls,
    "clsstack": _clsstack,
    "rand": _rand,
    "sim_always": _sim_always,
    "cls_or_sim_always": _cls_or_sim_always,
    "ssl_wide_blur": _ssl_wide_blur,
    "ssl_wide_blur_boosted": _ssl_wide_blur_boosted,
}

# views that need a strength for every image, and what they are without RandAugment
BOOSTED = {
    "boosted": "ssl",
    "boosted_twice": "ssl",
    "simclr_boosted": "simclr",
    "simclr_boosted_twice": "simclr",
    "ssl_wide_blur_boosted": "ssl_wide_blur",
}


def build_view(name: str, dataset: Dataset) -> Pipeline:
    """The augmentation pipeline of a view for a data set.

    ``plain`` normalises only; ``crop_flip`` is He et al.'s (2016) CIFAR augmentation, or, where ``crop_padding`` is
    null, a random resized crop of 8 % to 100 % of the area and a flip, as is usual on large images; ``simclr`` is
    Chen et al.'s (2020) without blur, as in the authors' code of SBCL; ``simclr_blur`` adds SimCLR's blur,
    ``sim_blur`` that of BCL's and PaCo's CIFAR views (``sim_blur_rare``: p = 0.2, GPaCo), and ``sim_wide`` takes
    crops from 8 % of the area on, without blur (ProCo). ``autoaugment_cutout`` is the first CIFAR view of BCL, PaCo and
    ProCo; ``cls`` and ``rand`` are those of their large-image recipes, with RandAugment; ``sim_always`` and
    ``clsstack`` PaCo's and GPaCo's there, jittered always, grey and blurred at times, without and with RandAugment;
    ``jitter`` is ``cls`` without RandAugment (ResLT), and in ``cls_or_sim_always`` a coin of every image chooses (CMO).
    ``ssl`` is the self-supervised view of SDCLR, GH and boosted contrastive learning, with bicubic crops
    (``ssl_bilinear``: GH's authors' code), and ``ssl_wide_blur`` that of GH on large images. ``boosted`` is ``ssl``
    with one operation of a strength that is the image's own, ``boosted_twice`` with two, ``simclr_boosted`` and
    ``simclr_boosted_twice`` are ``simclr`` with one and two, and ``ssl_wide_blur_boosted`` is GH's on large images:
    ``ssl_wide_blur`` with two whose strength has no floor. Raises UsageError for another name, SettingError under
    the names of a data set's settings for values out of range.
    """
    from lt_bench.augment.pipeline import Pipeline

    if name not in VIEWS:
        raise UsageError(f"unknown view {name!r}; there are {', '.join(VIEWS)}")
    jitter = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), "color_jitter")
    with renamed(scale="crop_scale", padding="crop_padding", size="image_size", **jitter):
        return Pipeline(VIEWS[name](dataset), dataset.mean, dataset.std)

"""The augmented views that have names, and the pipeline of a view; without PyTorch until one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_bench.augment.described import BOOSTED as BOOST
from lt_bench.augment.described import EITHER, OPERATIONS, WIDE, at, is_boosted, spelled_out
from lt_bench.config.trust import load
from lt_bench.errors import UsageError, renamed

if TYPE_CHECKING:
    from lt_bench.augment.pipeline import Op, Pipeline
    from lt_bench.config.dataset import Dataset
    from lt_bench.contracts import View

SSL = {"scale": [0.1, 1.0]}  # shares of the area in the self-supervised views of the long-tail literature
BICUBIC = {"interpolation": "bicubic"}
COLOR = ["color_jitter", "grayscale"]

VIEWS: dict[str, View] = {
    "plain": [],
    "crop_flip": ["crop", "flip"],
    "crop_flip_rotate": ["crop_flip", "rotation"],
    "simclr": ["resized_crop", "flip", *COLOR],
    "simclr_blur": ["simclr", "gaussian_blur"],
    "ssl": [{"resized_crop": {**SSL, **BICUBIC}}, "flip", *COLOR],
    "ssl_bilinear": [{"resized_crop": {**SSL, "interpolation": "bilinear"}}, "flip", *COLOR],
    "boosted": ["ssl", BOOST],
    "boosted_twice": ["ssl", {BOOST: {"k": 2, "floor": 5, "random": True}}],
    "simclr_boosted": ["simclr", BOOST],
    "simclr_boosted_twice": ["simclr", {BOOST: {"k": 2, "floor": 5, "random": True}}],
    "sim_blur": ["simclr", "box_blur"],
    "sim_blur_rare": ["simclr", {"box_blur": {"p": 0.2}}],
    "crop_flip_jitter_blur": ["crop_flip", *COLOR, {"box_blur": {"p": 0.2}}],
    "sim_wide": [{"resized_crop": {"scale": WIDE}}, "flip", *COLOR],
    "autoaugment_cutout": ["crop_flip", "autoaugment", "cutout"],
    "jitter": [{"resized_crop": {"scale": WIDE}}, "flip", {"color_jitter": {"hue": 0.0, "p": 1.0}}],
    "cls": ["jitter", "randaugment"],
    "clsstack": ["sim_always", "randaugment"],
    "rand": ["sim_wide", "randaugment"],
    "sim_always": ["jitter", "grayscale", "box_blur"],
    "cls_or_sim_always": ["jitter", {EITHER: {"first": ["randaugment"], "second": ["grayscale", "box_blur"]}}],
    "ssl_wide_blur": [{"resized_crop": {"scale": WIDE, **BICUBIC}}, "flip", *COLOR, "box_blur"],
    "lift": [{"resized_crop": {"scale": WIDE, "interpolation": "bilinear"}}, "flip"],
    "lift_plus": [{"square_crop": {"growth": "convex", **BICUBIC}}],
    "ssl_wide_blur_boosted": ["ssl_wide_blur", {BOOST: {"k": 2, "floor": 0, "random": True}}],
}

# views that need a strength for every image, and what they are without RandAugment
BOOSTED = {name: str(view[0]) for name, view in VIEWS.items() if isinstance(view, list) and is_boosted(view, VIEWS)}


def in_epoch(view: View, epoch: int, epochs: int) -> View:
    """A view as it is in one of so many epochs, see ``described.at``."""
    return at(view, epoch, epochs, VIEWS)


def build_view(view: View, dataset: Dataset) -> Pipeline:
    """The augmentation pipeline of a view, a name or a list of operations (see ``described``), for a data set.

    ``plain`` normalises only; ``crop_flip`` is He et al.'s (2016) CIFAR augmentation, or, where ``crop_padding`` is
    null, a random resized crop of 8 % to 100 % of the area and a flip, as is usual on large images, and
    ``crop_flip_rotate`` turns it by up to 15 degrees (RIDE, SADE, BalPoE on CIFAR), ``crop_flip_jitter_blur`` changes
    its colours and blurs it at times (SADE's weights of experts, there); ``simclr`` is
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
    ``ssl_wide_blur`` with two whose strength has no floor. ``lift`` is LIFT's, which crops images of any size, and
    ``lift_plus`` LIFT+'s, of squares that are larger in later epochs. Raises UsageError for another name, SettingError
    under the names of a data set's settings for values out of range.
    """
    from lt_bench.augment.pipeline import Pipeline

    if isinstance(view, str) and view not in VIEWS:
        raise UsageError(f"unknown view {view!r}; there are {', '.join(VIEWS)}")
    jitter = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), "color_jitter")
    with renamed(scale="crop_scale", padding="crop_padding", size="image_size", **jitter):
        return Pipeline(_operations(view, dataset), dataset.mean, dataset.std)


def _operations(view: View, dataset: Dataset) -> list[Op]:
    return [_operation(name, values, dataset) for name, values in spelled_out(view, dataset, VIEWS)]


def _operation(name: str, values: dict[str, Any], dataset: Dataset) -> Op:
    if name == EITHER:
        values = {way: _operations(ops, dataset) for way, ops in values.items()}
    size = {"size": dataset.image_size} if name.endswith("_crop") else {}
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    operation: Op = load(OPERATIONS[name].target)(**given, **size)
    return operation

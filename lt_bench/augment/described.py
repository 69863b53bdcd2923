"""Views in words: what a list of operations with parameters means, and what is wrong with one; without PyTorch.

A view is the name of one or a list. What stands in the list is done in turn:

    crop_flip                       the operations of a view that has a name
    cutout                          an operation, with the usual parameters for the data set
    {cutout: {length: 16}}          an operation with parameters of its own; the others are the usual ones
    {either: {first: [...], second: [...]}}    of two lists, the one that a coin of the image chooses

A mapping of several operations is the list of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lt_bench.config.annotations import accepts, coerce, wanted
from lt_bench.config.keys import nearest
from lt_bench.config.settings import MOST_JITTER, MOST_OPERATIONS, Setting
from lt_bench.config.signatures import parameters

if TYPE_CHECKING:
    from lt_bench.augment.resample import Interpolation
    from lt_bench.config.dataset import Dataset
    from lt_bench.contracts import View

WIDE = [0.08, 1.0]  # torchvision's default shares of the area in a random resized crop
BLUR = [0.1, 2.0]  # SimCLR's standard deviations, in pixels
BOOSTED = "boosted_randaugment"
EITHER, WAYS = "either", ("first", "second")
FLOOR = 10  # of boosted RandAugment, as published for one operation
UNCHOSEN = ("crop", "padded_crop", "resized_crop", "square_crop", BOOSTED)  # of another size, or of more than an image
WITHIN = ("padding", "sigma")  # pixels; what is computed with more than an image has grows without end
DONE = "done"  # the part of the training that is done, which an operation may take
SUPPLIED = ("self", "size", DONE)  # the size of what is cut is that of the data set's images


def interpolation(dataset: Dataset) -> Interpolation:
    """How a data set's images are resized."""
    return "bicubic" if dataset.interpolation == "bicubic" else "bilinear"


class Operation(NamedTuple):
    """A class, the values that its parameters have where none are given, and their ranges.

    ``usual`` is a function of the data set's settings; None: the operation is left out there.
    """

    target: str
    usual: Callable[[Dataset], dict[str, Any] | None]
    ranges: Mapping[str, Setting]


def _range(**limits: Any) -> Setting:
    return Setting("", **limits)


ANY, P = _range(), _range(least=0, most=1)
FROM_0, FROM_1 = _range(least=0), _range(least=1)
JITTER, TIMES = _range(least=0, most=MOST_JITTER), _range(least=1, most=MOST_OPERATIONS)
SPAN = _range(above=0, length=2)

OPERATIONS: dict[str, Operation] = {
    "padded_crop": Operation(
        "lt_bench.augment.crop.CropWithPadding",
        lambda dataset: {"padding": 4 if dataset.crop_padding is None else dataset.crop_padding},
        {"padding": FROM_0},
    ),
    "resized_crop": Operation(
        "lt_bench.augment.crop.RandomResizedCrop",
        lambda dataset: {"scale": dataset.crop_scale, "interpolation": interpolation(dataset)},
        {"scale": SPAN, "ratio": SPAN},
    ),
    "square_crop": Operation(
        "lt_bench.augment.square_crop.SquareCrop",
        lambda dataset: {"scale": WIDE, "growth": "none", "interpolation": interpolation(dataset)},
        {"scale": _range(above=0, most=1, length=2)},
    ),
    "flip": Operation(
        "lt_bench.augment.crop.HorizontalFlip",
        lambda dataset: {"p": 0.5} if dataset.horizontal_flip else None,
        {"p": P},
    ),
    "rotation": Operation(
        "lt_bench.augment.rotation.Rotation",
        lambda dataset: {"degrees": 15.0},
        {"degrees": _range(least=0, most=180)},
    ),
    "color_jitter": Operation(
        "lt_bench.augment.color.ColorJitter",
        lambda dataset: {
            **dict(zip(("brightness", "contrast", "saturation", "hue"), dataset.color_jitter, strict=True)),
            "p": dataset.color_jitter_probability,
        },
        {
            **dict.fromkeys(("brightness", "contrast", "saturation"), JITTER),
            "hue": _range(least=0, most=0.5),
            "p": P,
        },
    ),
    "photometric_distortion": Operation(
        "lt_bench.augment.distortion.PhotometricDistortion",
        lambda dataset: {},
        {
            **dict.fromkeys(("brightness", "contrast", "saturation"), P),
            "hue": _range(least=0, most=0.5),
            "p": P,
        },
    ),
    "grayscale": Operation(
        "lt_bench.augment.color.Grayscale", lambda dataset: {"p": dataset.grayscale_probability}, {"p": P}
    ),
    "gaussian_blur": Operation(
        "lt_bench.augment.blur.GaussianBlur",
        # SimCLR's kernel is a tenth of the image; it must be odd and at least 3
        lambda dataset: {"kernel_size": max(3, dataset.image_size // 10 // 2 * 2 + 1), "sigma": BLUR, "p": 0.5},
        {"kernel_size": FROM_1, "sigma": SPAN, "p": P},
    ),
    "box_blur": Operation(
        "lt_bench.augment.box_blur.BoxBlur", lambda dataset: {"sigma": BLUR, "p": 0.5}, {"sigma": SPAN, "p": P}
    ),
    "autoaugment": Operation("lt_bench.augment.autoaugment.AutoAugment", lambda dataset: {}, {}),
    "randaugment": Operation(
        "lt_bench.augment.randaugment.RandAugment",
        lambda dataset: {"n": dataset.randaugment_operations, "m": dataset.randaugment_magnitude, "mstd": 0.5},
        {"n": TIMES, "m": FROM_0, "mstd": FROM_0},
    ),
    BOOSTED: Operation(
        "lt_bench.augment.boosted.BoostedRandAugment",
        lambda dataset: {"k": 1, "floor": FLOOR, "random": False},
        {"k": TIMES, "floor": _range(least=0, most=30), "max_strength": _range(least=0, most=30)},
    ),
    "cutout": Operation(
        "lt_bench.augment.cutout.Cutout",
        lambda dataset: {"length": max(1, dataset.image_size // 2)},  # the published 16 pixels are half of CIFAR's 32
        {"length": FROM_1},
    ),
    EITHER: Operation("lt_bench.augment.either.Either", lambda dataset: {}, {}),
}


def crop(dataset: Dataset) -> dict[str, Any]:
    """The crop of the usual view of a data set: padded, or, as on large images, resized from 8 % of the area on."""
    return {"resized_crop": {"scale": WIDE}} if dataset.crop_padding is None else {"padded_crop": {}}


def items(view: View) -> list[str | dict[str, Any]]:
    """What stands in a view, each a name or a mapping of one operation to its parameters; ``{flip: {}}`` is flip."""
    found: list[str | dict[str, Any]] = []
    for item in [view] if isinstance(view, (str, dict)) else view:
        pairs = item.items() if isinstance(item, dict) else [(item, None)]
        found += [{name: dict(values)} if values else name for name, values in pairs]
    return found


def wrong(view: Any, named: Mapping[str, View], image_size: int) -> Iterator[str]:
    """What is wrong with a view that is no name, in words, where ``named`` are those that have one."""
    if not isinstance(view, (list, tuple, dict)):
        yield f"{view!r} is no view"
        return
    words = [*named, *OPERATIONS, "crop"]
    for item in [view] if isinstance(view, dict) else view:
        for name, values in item.items() if isinstance(item, dict) else [(item, None)]:
            if not isinstance(name, str) or name not in words:
                close = nearest(name, words) if isinstance(name, str) else ""
                yield f"unknown operation {name!r}{close}; there are crop, {', '.join(OPERATIONS)}, and views by name"
            elif name == EITHER:
                yield from _wrong_ways(values, named, image_size)
            elif values is not None and not isinstance(values, dict):
                yield f"{name} takes its parameters as {{{name}: {{NAME: VALUE}}}}, not {values!r}"
            elif values and name not in OPERATIONS:
                yield f"{name} has no parameters of its own; describe it by its operations: {', '.join(OPERATIONS)}"
            elif values:
                yield from _wrong_values(name, values, image_size)


def _wrong_ways(ways: Any, named: Mapping[str, View], image_size: int) -> Iterator[str]:
    if not isinstance(ways, dict) or {*ways} != {*WAYS} or not all(isinstance(way, list) for way in ways.values()):
        yield f"{EITHER} takes two lists of operations as {{{EITHER}: {{first: [...], second: [...]}}}}"
        return
    for way in ways.values():
        problems = [*wrong(way, named, image_size)]
        yield from problems
        if not problems and any(name in UNCHOSEN for name in _names(way, named)):
            yield f"{EITHER} chooses between none of {', '.join(UNCHOSEN)}; write crops in front of it"


def _names(view: View, named: Mapping[str, View]) -> Iterator[str]:
    """All names of operations in a view."""
    for item in items(view):
        name, values = next(iter(item.items())) if isinstance(item, dict) else (item, {})
        yield name
        if name in named:
            yield from _names(named[name], named)
        elif name == EITHER:
            yield from (inner for way in values.values() for inner in _names(way, named))


def _wrong_values(name: str, values: dict[str, Any], image_size: int) -> Iterator[str]:
    known = _parameters(name)
    for key, value in values.items():
        if key not in known:
            close = nearest(str(key), known)
            yield f"{name} has no parameter {key!r}{close}; it takes {', '.join(known) or 'none'}"
        elif not accepts(value, known[key].annotation):
            yield f"{name}.{key}={json.dumps(value)}: it is {wanted(known[key].annotation)}"
        elif said := OPERATIONS[name].ranges.get(key, ANY).refuses(value):
            yield f"{name}.{key}={json.dumps(value)}: it is {said}"
        elif isinstance(value, (list, tuple)) and value[0] > value[1]:
            yield f"{name}.{key}={json.dumps(value)}: the smaller number comes first"
        elif key == "kernel_size" and (value % 2 == 0 or value >= 2 * image_size):
            yield f"{name}.{key}={value}: it is odd and below twice the {image_size} pixels of an image"
        elif key in WITHIN and max(value if isinstance(value, list) else [value]) > image_size:
            yield f"{name}.{key}={json.dumps(value)}: it is at most the {image_size} pixels of an image"
        elif key == "max_strength" and value < values.get("floor", FLOOR):
            yield f"{name}.{key}={value}: it is at least floor={values.get('floor', FLOOR)}"


def _parameters(name: str) -> dict[str, Any]:
    return {key: one for key, one in parameters(OPERATIONS[name].target).items() if key not in SUPPLIED}


def canonical(view: View) -> View:
    """A view without fault in the one form that it is known by: a name, or a list with numbers as they are meant."""
    if isinstance(view, str):
        return view
    found: list[Any] = []
    for item in items(view):
        if isinstance(item, dict):
            ((name, values),) = item.items()
            known = _parameters(name)
            if name == EITHER:
                item = {name: {way: canonical(values[way]) for way in WAYS}}
            else:
                item = {name: {key: coerce(value, known[key].annotation) for key, value in values.items()}}
        found.append(item)
    return found


def spelled_out(view: View, dataset: Dataset, named: Mapping[str, View]) -> list[tuple[str, dict[str, Any]]]:
    """The operations of a view for a data set, in turn, each with all parameters but the size of what is cut.

    What ``either`` chooses from is left as it is described.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    for item in items(named[view] if isinstance(view, str) else view):
        name, own = next(iter(item.items())) if isinstance(item, dict) else (item, None)
        if own is None and name == "crop":
            found += spelled_out([crop(dataset)], dataset, named)
        elif own is None and name in named:
            found += spelled_out(name, dataset, named)
        elif (usual := OPERATIONS[name].usual(dataset)) is not None or own:
            found.append((name, {**(usual or {}), **(own or {})}))
    return found


def at(view: View, epoch: int, epochs: int, named: Mapping[str, View]) -> View:
    """A view as it is in one of so many epochs, from 0 on: itself, unless it has an operation that changes with them.

    The first epoch has done nothing of the training, the last one, and that of a training of one, has done all.
    """
    if not any(DONE in parameters(OPERATIONS[name].target) for name in _names(view, named) if name in OPERATIONS):
        return view
    done, found = epoch / (epochs - 1) if epochs > 1 else 1.0, list[Any]()
    for item in items(view):
        name, values = next(iter(item.items())) if isinstance(item, dict) else (item, {})
        if name in named:
            within = at(named[name], epoch, epochs, named)
            found += within if isinstance(within, list) else [within]
        elif name in OPERATIONS and DONE in parameters(OPERATIONS[name].target):
            found.append({name: {**values, DONE: done}})
        else:
            found.append(item)
    return found


def is_boosted(view: View, named: Mapping[str, View]) -> bool:
    """Whether a view needs a strength for every image."""
    return BOOSTED in _names(view, named)


def written(view: View) -> str:
    """A view as it is typed: ``crop_flip``, or ``[crop_flip,{cutout:{length:16}}]``."""
    if isinstance(view, Mapping):
        return "{" + ",".join(f"{key}:{written(value)}" for key, value in view.items()) + "}"
    if isinstance(view, (list, tuple)):
        return f"[{','.join(map(written, view))}]"
    return view if isinstance(view, str) else json.dumps(view)

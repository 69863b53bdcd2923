"""How a network sees the images of a data set: as the data set says, or as the network's pretrained weights want it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lt_bench.augment.described import interpolation
from lt_bench.config.dataset import Dataset
from lt_bench.config.keys import fields_of
from lt_bench.config.schema import Backbone, Config
from lt_bench.config.trust import is_own, load
from lt_bench.data.batches.crops import CentralCrops, PlainCrops, plain_crops
from lt_bench.errors import UsageError, keyed
from lt_bench.models.inputs import EncoderInput


def wanted_input(config: Config) -> EncoderInput | None:
    """What the weights of a run's network were trained on; None for a network that takes what there is.

    Raises UsageError for a network that there is not.
    """
    target = config.backbone["_target_"]
    ask = None if is_own(target) else getattr(load(target), "wanted_input", None)
    if ask is None:
        return None
    beside = {*fields_of(Backbone), "_target_"}
    with keyed("backbone"):
        wanted = ask(**{name: value for name, value in config.backbone.items() if name not in beside})
    assert isinstance(wanted, EncoderInput)
    return wanted


def as_seen(config: Config, from_files: bool) -> Dataset:
    """The settings of a data set with those in which a network's pretrained weights win.

    Of images in files these are cut at the size of the network; others keep theirs, and the network enlarges them.
    """
    dataset, wanted = config.dataset, wanted_input(config)
    if wanted is None:
        return dataset
    return replace(
        dataset,
        image_size=wanted.size if from_files else dataset.image_size,
        mean=list(wanted.mean),
        std=list(wanted.std),
        interpolation=wanted.interpolation,
        crop_share=wanted.crop_share if from_files else dataset.crop_share,
    )


def middle_of(seen: Dataset) -> CentralCrops:
    """The middle of images in files, as a network sees those that it is trained on without augmentation."""
    return CentralCrops(seen.image_size, seen.crop_share, interpolation(seen))


def plain_crops_of(config: Config, from_files: bool) -> PlainCrops:
    """The crops by which images are evaluated; several are cut at the size that the network takes.

    Raises UsageError where several would show less than two thirds of each side.
    """
    seen, evaluation, wanted = as_seen(config, from_files), config.evaluation, wanted_input(config)
    if evaluation.expand is None:
        return middle_of(seen) if from_files else middle_of(replace(seen, crop_share=1.0))
    size = wanted.size if wanted else seen.image_size
    if evaluation.expand > size // 2:
        raise UsageError(
            f"evaluation.expand={evaluation.expand} is at most half of the {size} pixels that the network takes; set "
            f"evaluation.expand={max(1, size // 10)}, or evaluation.views=single evaluation.expand=null"
        )
    return plain_crops(size, size / (size + evaluation.expand), interpolation(seen), evaluation.views)


def remark_on_input(config: Config, seen: Dataset) -> Iterator[str]:
    """Lines on what a data set says otherwise than a network's weights, on images that are enlarged, and on weights."""
    words = {key: getattr(seen, key) for key in ("image_size", "mean", "std", "interpolation", "crop_share")}
    other = [key for key, value in words.items() if value != getattr(config.dataset, key)]
    name, wanted = config.backbone["name"], wanted_input(config)
    yield from (f"{name}: {note}" for note in (wanted.notes if wanted and config.backbone.get("pretrained") else ()))
    if other:
        said = ", ".join(f"{key} {_shown(words[key])}" for key in other)
        yield f"images are as the weights of {name} want them, and not as dataset={config.dataset.name} says: {said}"
    if wanted and wanted.size != seen.image_size:
        yield (
            f"images of {seen.image_size} pixels are resized to {wanted.size}, which {name} takes; "
            f"backbone.input_size={seen.image_size} would leave them as they are"
        )


def _shown(value: object) -> str:
    return "[" + ", ".join(f"{one:.4g}" for one in value) + "]" if isinstance(value, list) else str(value)

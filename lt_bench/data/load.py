"""A run's data: its source, the long-tailed split, and the images, on the device or read by workers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lt_bench.config import Config
from lt_bench.data.images import open_images
from lt_bench.data.large import LargeImages
from lt_bench.data.parallel import default_workers
from lt_bench.data.small import SmallImages
from lt_bench.data.source import read_source
from lt_bench.data.sources.common import ImageArrays
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import ImageFiles
from lt_bench.data.split import Split, make_split, manifest
from lt_bench.data.views import build_view

Images = SmallImages | LargeImages


class Data(NamedTuple):
    """The train split, the images that are evaluated on, and what identifies the split."""

    train: Images
    test: Images
    validation: Images
    split: Split
    manifest: dict[str, Any]

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """Training images per class, (C,)."""
        return np.asarray(self.split.class_counts, dtype=np.int64)


def load_data(config: Config, device: torch.device) -> Data:
    """Read a data set and cut the long tail; raises ValueError, DataError with what to do.

    Arrays are put on the device; files are listed, and read when their images are needed.
    """
    found = read_source(config)
    return _files(config, device, found) if isinstance(found, ImageLists) else _arrays(config, device, found)


def _arrays(config: Config, device: torch.device, arrays: ImageArrays) -> Data:
    dataset = config.dataset
    found = {"num_classes": arrays.num_classes, "image_size": arrays.train_images.shape[-1]}
    for key, value in found.items():
        if getattr(dataset, key) != value:
            raise ValueError(f"dataset.{key}={getattr(dataset, key)}: {dataset.name} has {value}")
    split = _cut(config, arrays.train_labels)

    def images(pixels: Any, labels: Any, layout: torch.memory_format = torch.contiguous_format) -> SmallImages:
        tensor = torch.from_numpy(pixels).to(device, memory_format=layout)
        return SmallImages(tensor, torch.from_numpy(labels).to(device), lambda view: build_view(view, dataset))

    return Data(
        images(arrays.train_images[split.train], arrays.train_labels[split.train]),
        # read in slices and never augmented: normalising is twice as fast from channels_last
        images(arrays.test_images, arrays.test_labels, torch.channels_last),
        images(arrays.train_images[split.validation], arrays.train_labels[split.validation], torch.channels_last),
        split,
        _facts(config, split, len(arrays.test_labels)),
    )


def _files(config: Config, device: torch.device, lists: ImageLists) -> Data:
    dataset = config.dataset
    lists.require_sound()
    split = _cut(config, lists.train.labels)
    workers = default_workers() if dataset.workers is None else dataset.workers

    def images(files: ImageFiles, skip: bool = False) -> LargeImages:
        return LargeImages(
            open_images(config, lists.root, files.names),
            torch.from_numpy(files.labels).to(device),
            lambda view: build_view(view, dataset),
            dataset.image_size,
            workers,
            skip,
        )

    return Data(
        images(lists.train.take(split.train), dataset.on_bad_image == "skip"),
        images(lists.test),  # accuracies over fewer images would be other accuracies: nothing is skipped
        images(lists.validation or lists.train.take(split.validation)),
        split,
        {
            **_facts(config, split, len(lists.test.names)),
            "lists_sha256": {part: files.sha256() for part, files in lists.parts().items()},
        },
    )


def _cut(config: Config, labels: NDArray[np.int64]) -> Split:
    """The long-tailed split of training images with these labels."""
    dataset, imbalance = config.dataset, config.imbalance
    return make_split(
        labels,
        dataset.num_classes,
        factor=imbalance.factor,
        profile=imbalance.profile,  # type: ignore[arg-type]  # checked before
        seed=config.split_seed,
        pool_per_class=dataset.pool_per_class,
        validation_fraction=dataset.validation_fraction,
        validation_per_class=dataset.validation_per_class,
    )


def _facts(config: Config, split: Split, test_images: int) -> dict[str, Any]:
    return manifest(
        split,
        dataset=config.dataset.name,
        factor=config.imbalance.factor,
        profile=config.imbalance.profile,
        seed=config.split_seed,
        test_images=test_images,
    )

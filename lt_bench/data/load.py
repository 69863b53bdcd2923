"""A run's data: source images, long-tailed split, and the tensors on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra.utils import get_object
from numpy.typing import NDArray

from lt_bench.config import Config, wants_validation
from lt_bench.data.small import SmallImages
from lt_bench.data.sources.common import ImageArrays
from lt_bench.data.split import Split, make_split, manifest
from lt_bench.data.split_lists import read_split
from lt_bench.data.views import build_view


class Data(NamedTuple):
    """The train split, the images that are evaluated on, and what identifies the split."""

    train: SmallImages
    test: SmallImages
    validation: SmallImages
    split: Split
    manifest: dict[str, Any]

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """Training images per class, (C,)."""
        return np.asarray(self.split.class_counts, dtype=np.int64)


def load_data(config: Config, device: torch.device) -> Data:
    """Read a data set, cut the long tail and put it on the device; raises ValueError, DataError with what to do."""
    dataset, imbalance = config.dataset, config.imbalance
    root = Path(dataset.root) if dataset.root else Path(config.data_dir) / dataset.name.removesuffix("_lt")
    arrays = get_object(dataset._target_)(root.expanduser(), download=dataset.download)
    found = {"num_classes": arrays.num_classes, "image_size": arrays.train_images.shape[-1]}
    for key, value in found.items():
        if getattr(dataset, key) != value:
            raise ValueError(f"dataset.{key}={getattr(dataset, key)}: {dataset.name} has {value}")
    split = _split(config, arrays)

    def images(pixels: Any, labels: Any, layout: torch.memory_format = torch.contiguous_format) -> SmallImages:
        tensor = torch.from_numpy(pixels).to(device, memory_format=layout)
        return SmallImages(tensor, torch.from_numpy(labels).to(device), lambda view: build_view(view, dataset))

    facts = manifest(
        split,
        dataset=dataset.name,
        factor=imbalance.factor,
        profile=imbalance.profile,
        seed=config.split_seed,
        test_images=len(arrays.test_labels),
    )
    return Data(
        images(arrays.train_images[split.train], arrays.train_labels[split.train]),
        # read in slices and never augmented: normalising is twice as fast from channels_last
        images(arrays.test_images, arrays.test_labels, torch.channels_last),
        images(arrays.train_images[split.validation], arrays.train_labels[split.validation], torch.channels_last),
        split,
        facts,
    )


def _split(config: Config, arrays: ImageArrays) -> Split:
    """Read from lists, or cut by class counts."""
    dataset = config.dataset
    tail: dict[str, Any] = {"factor": config.imbalance.factor, "profile": config.imbalance.profile}
    if dataset.split_dir is not None:
        folder = Path(dataset.split_dir).expanduser()
        split = read_split(folder, config.split_seed, arrays.train_labels, arrays.num_classes, **tail)
        if not len(split.validation) and wants_validation(config):
            raise ValueError(f"a validation part is asked for, but {folder} has no list validation")
        return split
    return make_split(
        arrays.train_labels,
        arrays.num_classes,
        **tail,
        seed=config.split_seed,
        pool_per_class=dataset.pool_per_class,
        validation_fraction=dataset.validation_fraction,
        validation_per_class=dataset.validation_per_class,
    )

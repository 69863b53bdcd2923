"""A run's data: source images, long-tailed split, and the tensors on the device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lt_bench.config import Config
from lt_bench.data.small import SmallImages
from lt_bench.data.source import read_source
from lt_bench.data.split import Split, make_split, manifest
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
    arrays = read_source(config)
    found = {"num_classes": arrays.num_classes, "image_size": arrays.train_images.shape[-1]}
    for key, value in found.items():
        if getattr(dataset, key) != value:
            raise ValueError(f"dataset.{key}={getattr(dataset, key)}: {dataset.name} has {value}")
    split = make_split(
        arrays.train_labels,
        arrays.num_classes,
        factor=imbalance.factor,
        profile=imbalance.profile,  # type: ignore[arg-type]  # checked before
        seed=config.split_seed,
        pool_per_class=dataset.pool_per_class,
        validation_fraction=dataset.validation_fraction,
        validation_per_class=dataset.validation_per_class,
    )

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

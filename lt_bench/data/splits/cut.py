"""The split that a config asks for; without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.config.schema import Config, wants_validation
from lt_bench.data.splits.from_lists import read_split
from lt_bench.data.splits.split import LEAST_FOR_VALIDATION, Split, make_split
from lt_bench.errors import UsageError


def cut(config: Config, labels: NDArray[np.int64], num_classes: int) -> Split:
    """The split of training images with these labels: read from lists, or cut by class counts."""
    dataset = config.dataset
    tail: dict[str, Any] = {"factor": config.imbalance.factor, "profile": config.imbalance.profile}
    if dataset.split_dir is not None:
        folder = Path(dataset.split_dir).expanduser()
        split = read_split(folder, config.split_seed, labels, num_classes, **tail)
        if not len(split.validation) and wants_validation(config):
            raise UsageError(f"a validation part is asked for, but {folder} has no list validation")
        return split
    held_out: dict[str, Any] = {"test_fraction": dataset.test_fraction, "pool_per_class": dataset.pool_per_class}
    sizes: dict[str, Any] = {**tail, **held_out, "seed": config.split_seed}
    fraction, per_class = dataset.validation_fraction, dataset.validation_per_class
    split = make_split(labels, num_classes, **sizes, validation_fraction=fraction, validation_per_class=per_class)
    if config.evaluation.split == "validation" and not len(split.validation) and dataset.validation_list is None:
        raise UsageError(
            f"dataset.validation_fraction={fraction:g} sets no image aside, as no class has {LEAST_FOR_VALIDATION} "
            "images to train on; set evaluation.split=test"
        )
    if fraction and is_too_small(config, len(split.validation), num_classes):
        return make_split(labels, num_classes, **sizes, validation_fraction=0)
    return split


def is_too_small(config: Config, images: int, num_classes: int) -> bool:
    """Whether a part is not worth setting aside: with fewer images than classes no epoch can be chosen by it.

    A part that is evaluated on is as large as the user wants it.
    """
    return config.evaluation.split == "test" and images < num_classes

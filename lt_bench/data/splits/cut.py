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
    fraction = dataset.validation_fraction
    others: dict[str, Any] = {
        **tail,
        "seed": config.split_seed,
        "pool_per_class": dataset.pool_per_class,
        "test_fraction": dataset.test_fraction,
    }
    split = make_split(
        labels,
        num_classes,
        **others,
        validation_fraction=fraction,
        validation_per_class=dataset.validation_per_class,
    )
    if config.evaluation.split == "validation":  # as large as the user wants it
        if not len(split.validation) and dataset.validation_list is None:
            raise UsageError(
                f"dataset.validation_fraction={fraction:g} sets no image aside, as no class has "
                f"{LEAST_FOR_VALIDATION} images to train on; set evaluation.split=test"
            )
        return split
    # with fewer images than classes no epoch can be chosen: they are better trained on
    too_small = fraction > 0 and len(split.validation) < num_classes
    return make_split(labels, num_classes, **others, validation_fraction=0) if too_small else split

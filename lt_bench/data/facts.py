"""What a run writes down of its data, and what must be as the settings say."""

from __future__ import annotations

from typing import Any

from lt_bench.config.dataset import Dataset
from lt_bench.config.schema import Config
from lt_bench.data.content import of_source
from lt_bench.data.sources.common import ImageArrays, SceneArrays
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.scene_folders import SceneFolders
from lt_bench.data.splits.split import Split, manifest
from lt_bench.errors import UsageError


def require_fitting(dataset: Dataset, **found: int) -> None:
    """Raise UsageError where a setting of a data set in memory is another number than was found."""
    wrong = [
        f"dataset.{key}={getattr(dataset, key)}, but {dataset.name} has {value}; set dataset.{key}={value}"
        for key, value in found.items()
        if getattr(dataset, key) != value
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def facts(
    config: Config, split: Split, source: ImageArrays | SceneArrays | SceneFolders | ImageLists, test_images: int
) -> dict[str, Any]:
    """The manifest of a split, with what the data are known by and the names of classes that were matched."""
    known = {part: str(known) for part, known in of_source(config, source).items()}
    classes = {"classes": source.classes, "class_rule": source.class_rule} if isinstance(source, ImageLists) else {}
    return {
        **manifest(
            split,
            dataset=config.dataset.name,
            factor=config.imbalance.factor,
            profile=config.imbalance.profile,
            seed=config.split_seed,
            test_images=test_images,
        ),
        **({"test_fraction": config.dataset.test_fraction} if len(split.test) else {}),
        **({"content": known} if known else {}),
        **classes,
    }

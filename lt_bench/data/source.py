"""The source of a data set, called with the settings that it takes; without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lt_bench.config.schema import Config
from lt_bench.config.signatures import parameters
from lt_bench.config.trust import load
from lt_bench.data.sources import image_lists
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.errors import keyed

READER = f"{image_lists.__name__}.{image_lists.read.__name__}"


def data_root(config: Config) -> Path:
    """The folder of a data set: ``dataset.root``, or a folder of its name in ``data_dir``."""
    dataset = config.dataset
    root = Path(dataset.root) if dataset.root else Path(config.data_dir) / dataset.name.removesuffix("_lt")
    return root.expanduser()


def read_source(config: Config) -> Any:
    """What the source of a data set returns, ``ImageArrays``, ``ImageLists``, ``SceneArrays`` or ``SceneFolders``.

    A source is a function of the root and of those settings of the data set, ``split_seed`` and ``imbalance_factor``
    that it names as its parameters.
    Raises DataError, UsageError where the source raises them or SettingError.
    """
    with keyed("dataset"):
        return load(config.dataset._target_)(data_root(config), **settings(config, config.dataset._target_))


def read_with_package(config: Config) -> ImageLists:
    """The lists of a data set of files, read by this package whatever function the config names; raises as above."""
    with keyed("dataset"):
        return image_lists.read(data_root(config), **settings(config, READER))


def settings(config: Config, target: str) -> dict[str, Any]:
    """The settings of a data set that a source takes, the seed of its split, and how long its tail is."""
    tail = {"split_seed": config.split_seed, "imbalance_factor": config.imbalance.factor}
    given = {**vars(config.dataset), **tail}
    wanted = parameters(target).keys() & given.keys() - {"root"}
    return {name: given[name] for name in sorted(wanted)}

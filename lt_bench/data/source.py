"""Calling the source of a data set with the settings that it takes; nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.utils import get_object

from lt_bench.config import Config
from lt_bench.signatures import parameters


def data_root(config: Config) -> Path:
    """Where a data set is: ``dataset.root``, or a folder of its name in ``data_dir``."""
    dataset = config.dataset
    root = Path(dataset.root) if dataset.root else Path(config.data_dir) / dataset.name.removesuffix("_lt")
    return root.expanduser()


def read_source(config: Config) -> Any:
    """What the source of a data set returns, ``ImageArrays`` or ``ImageLists``.

    A source is a function of the root and of those settings of the data set that it names as its parameters.
    """
    dataset = config.dataset
    wanted = parameters(dataset._target_).keys() & vars(dataset).keys() - {"root"}
    return get_object(dataset._target_)(data_root(config), **{name: getattr(dataset, name) for name in sorted(wanted)})

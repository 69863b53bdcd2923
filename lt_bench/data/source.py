"""The source of a data set, called with the settings that it takes; without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lt_bench.config.schema import Config
from lt_bench.config.signatures import parameters
from lt_bench.config.trust import load
from lt_bench.data.sources import image_lists
from lt_bench.errors import DataError, keyed

_cache: dict[str, dict[str, str]] = {}  # checksums of lists, by their names and the times of their last changes


def data_root(config: Config) -> Path:
    """The folder of a data set: ``dataset.root``, or a folder of its name in ``data_dir``."""
    dataset = config.dataset
    root = Path(dataset.root) if dataset.root else Path(config.data_dir) / dataset.name.removesuffix("_lt")
    return root.expanduser()


def read_source(config: Config) -> Any:
    """What the source of a data set returns, ``ImageArrays`` or ``ImageLists``.

    A source is a function of the root and of those settings of the data set that it names as its parameters.
    Raises DataError, UsageError where the source raises them or SettingError.
    """
    with keyed("dataset"):
        return load(config.dataset._target_)(data_root(config), **_settings(config, config.dataset._target_))


def _settings(config: Config, target: str) -> dict[str, Any]:
    """The settings of a data set that a source takes."""
    dataset = config.dataset
    wanted = parameters(target).keys() & vars(dataset).keys() - {"root"}
    return {name: getattr(dataset, name) for name in sorted(wanted)}


def known_by_content(config: Config) -> bool:
    """Whether a data set of files is identified by the content of its lists, for lack of published counts."""
    return config.dataset.train_list is not None and config.dataset.train_images is None


def list_checksums(config: Config) -> dict[str, str]:
    """Checksums of the images and labels that the lists of a data set of files name, by part.

    Lists that cannot be read have none, and stop the run when it reads them. Cached until a list changes. They are read
    by our own reader, whatever the ``_target_`` is: an identity runs nothing that a config names.
    """
    dataset, root = config.dataset, data_root(config)
    named = {part: getattr(dataset, f"{part}_list") for part in ("train", "validation", "test", "probe")}
    try:
        stamps = {part: _stamp(path) for part, path in image_lists.find(root, dataset.list_dir, named).items()}
        settings = _settings(config, f"{image_lists.__name__}.{image_lists.read.__name__}")
        key = repr((root.absolute(), settings, stamps))
        if key not in _cache:
            lists = image_lists.read(root, **settings)
            _cache[key] = {part: files.sha256() for part, files in lists.parts().items()}
    except (DataError, OSError):
        return {}
    return _cache[key]


def _stamp(path: Path) -> list[tuple[str, int]]:
    """The time of the last change of a list, or of every folder of a class."""
    places = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(str(place), place.stat().st_mtime_ns) for place in places]

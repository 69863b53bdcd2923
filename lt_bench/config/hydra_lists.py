"""Hydra's own list of the files that some choices stand for, less the work that it does for nothing.

Composing a config by Hydra's public function takes longer than all else that is known before a run: it reads every file
for every list, follows the files of Hydra's own settings, which are not used here, and makes a config of all choices
for every file of a list, which only files with a reference among their defaults need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from hydra import initialize_config_module
from hydra._internal import defaults_list
from hydra.core.global_hydra import GlobalHydra


def list_of(choices: Sequence[str], places: Sequence[str], read_once: bool) -> Any:
    """Hydra's defaults list of some choices (group=choice), with the choices known in it.

    ``places`` are further folders that files are looked for in, as Hydra quotes them; ``read_once`` says that no file
    changes in this process. Raises what Hydra raises for files that do not fit.
    """
    words = [*choices, f"hydra.searchpath=[{','.join(places)}]"]
    with initialize_config_module("lt_bench.conf", version_base="1.3"), _maps_where_they_are_read():
        loader: Any = GlobalHydra.instance().config_loader()
        if read_once:
            loader.repository = _ReadOnce(loader.repository)
        parsed, repository = loader._parse_overrides_and_create_caching_repo("config", words)
        return defaults_list.create_defaults_list(repository, "config", parsed, prepend_hydra=False, skip_missing=False)


@contextmanager
def _maps_where_they_are_read() -> Iterator[None]:
    """A block in which Hydra makes a config of all choices for the files alone that have a reference to one of them."""
    module: Any = defaults_list
    make = module._create_interpolation_map

    def where_read(overrides: Any, defaults: Sequence[Any], self_added: bool) -> Any:
        read = any(one.is_interpolation() for one in defaults)
        return make(overrides, defaults, self_added) if read else None

    module._create_interpolation_map = where_read
    try:
        yield
    finally:
        module._create_interpolation_map = make


class _ReadOnce:
    """Hydra's files of conf/, each read once in a process: by itself it reads them for every list of choices."""

    read: ClassVar[dict[str, Any]] = {}

    def __init__(self, files: Any) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> _ReadOnce:
        return self

    def load_config(self, config_path: str) -> Any:
        """The file, whose content nobody changes; what no file has that name is looked for again."""
        found = self.read.get(config_path) or self._files.load_config(config_path=config_path)
        if found is not None:
            self.read[config_path] = found
        return found

"""The files of conf/, which anybody may edit or add to: one that cannot be read is named, with the line."""

from __future__ import annotations

import copy
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_bench.config.own_files import cached, own_folders
from lt_bench.config.yaml_text import parse_yaml
from lt_bench.errors import UsageError

if TYPE_CHECKING:
    from importlib.abc import Traversable  # elsewhere since Python 3.14

ADVICE = "mend the file, or take it anew from the package"


def is_file(name: str) -> bool:
    """Whether there is a file of this name, given without its suffix, such as method/ce."""
    return any((root / f"{name}.yaml").is_file() for root in _roots())


def is_own(name: str) -> bool:
    """Whether a file is not the package's but one of the user's own."""
    there = any((folder / f"{name}.yaml").is_file() for folder in own_folders())
    return there and not (files("lt_bench.conf") / f"{name}.yaml").is_file()


@cached
def names_in(folder: str) -> list[str]:
    """The names of the files in a folder of conf/, and of the user's own in such a folder, sorted."""
    found = [root.joinpath(*folder.split("/")) for root in _roots()]
    names = {file.name for place in found if place.is_dir() for file in place.iterdir()}
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def place_of(name: str) -> str:
    """Where a file stands, for whoever reads of it: conf/method/ce.yaml, or the path of one of the user's own."""
    if not is_own(name):
        return f"conf/{name}.yaml"
    path = Path(str(_file(name)))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def text_of(name: str) -> str:
    """The text of a file; raises UsageError where it is none."""
    try:
        return _file(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{place_of(name)} cannot be read as text in UTF-8 ({error}); {_advice(name)}") from error


def values_of(name: str) -> dict[str, Any]:
    """What a file says, references as they stand; raises UsageError where it is no YAML of keys and values."""
    text = text_of(name)
    try:
        values = copy.deepcopy(_parsed(text))
        if not isinstance(values, dict):
            raise ValueError("no keys with values")
        if not isinstance(values.get("defaults", []), list):
            raise ValueError("its defaults are no list")
    except ValueError as error:
        raise UsageError(f"{place_of(name)}: {error}; {_advice(name)}") from error
    return {str(key): value for key, value in values.items()}


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """What a text says, kept: to read YAML takes longer than all else that is asked of a small file."""
    return parse_yaml(text)


def check_all() -> None:
    """Raise UsageError for the first file that is no YAML of keys and values."""
    for root in _roots():
        for folder in sorted(root.iterdir(), key=lambda entry: entry.name):
            for file in [folder] if folder.is_file() else sorted(folder.iterdir(), key=lambda entry: entry.name):
                if file.name.endswith(".yaml"):
                    place = "" if file is folder else f"{folder.name}/"
                    values_of(place + file.name.removesuffix(".yaml"))


def _advice(name: str) -> str:
    return "mend the file" if is_own(name) else ADVICE


def _roots() -> tuple[Traversable, ...]:
    return (files("lt_bench.conf"), *own_folders())


def _file(name: str) -> Traversable:
    """The file of a name; that of the package where there is none."""
    found = [root / f"{name}.yaml" for root in _roots()]
    return next((file for file in found if file.is_file()), found[0])

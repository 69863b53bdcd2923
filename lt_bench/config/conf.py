"""The files of conf/, which anybody may edit: one that cannot be read is named, with the line."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from lt_bench.config.yaml_text import parse_yaml
from lt_bench.errors import UsageError

ADVICE = "mend the file, or take it anew from the package"


def is_file(name: str) -> bool:
    """Whether there is a file of this name, given without its suffix, such as method/ce."""
    return (files("lt_bench.conf") / f"{name}.yaml").is_file()


def text_of(name: str) -> str:
    """The text of a file; raises UsageError where it is none."""
    try:
        return (files("lt_bench.conf") / f"{name}.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"conf/{name}.yaml cannot be read as text in UTF-8 ({error}); {ADVICE}") from error


def values_of(name: str) -> dict[str, Any]:
    """What a file says, references as they stand; raises UsageError where it is no YAML of keys and values."""
    text = text_of(name)
    try:
        values = parse_yaml(text)
        if not isinstance(values, dict):
            raise ValueError("no keys with values")
        if not isinstance(values.get("defaults", []), list):
            raise ValueError("its defaults are no list")
    except ValueError as error:
        raise UsageError(f"conf/{name}.yaml: {error}; {ADVICE}") from error
    return {str(key): value for key, value in values.items()}


def check_all() -> None:
    """Raise UsageError for the first file that is no YAML of keys and values."""
    for folder in sorted(files("lt_bench.conf").iterdir(), key=lambda entry: entry.name):
        for file in [folder] if folder.is_file() else sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".yaml"):
                place = "" if file is folder else f"{folder.name}/"
                values_of(place + file.name.removesuffix(".yaml"))

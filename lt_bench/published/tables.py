"""The files of results/published, read strictly."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml  # type: ignore[import-untyped]

from lt_bench.errors import UsageError

SCHEMA = 1
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # thirty times as fast where PyYAML has it


class _EachKeyOnce(_Loader):
    """YAML's plain values, less a key that stands twice in a mapping, of which the last would win in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; raises ``yaml.YAMLError`` for a key that is there twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise yaml.YAMLError(f"{twice[0]} is there twice, in line {node.start_mark.line + 1} and below")
        return dict(super().construct_mapping(node, deep=deep))


def place(name: str) -> str:
    """What messages call a file."""
    return f"results/published/{name}.yaml"


@cache
def names() -> list[str]:
    """The names of all files, sorted."""
    found = (file.name for file in files("lt_bench.published.results").iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def table(name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The values of a file, which has these keys and its schema; raises UsageError naming the file for another one."""
    text = (files("lt_bench.published.results") / f"{name}.yaml").read_text(encoding="utf-8")
    return parse(text, place(name), keys)


def parse(text: str, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The values of a text, as ``table`` reads a file; ``where`` is what messages call it."""
    try:
        values = yaml.load(text, Loader=_EachKeyOnce)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: no YAML ({' '.join(str(error).split())})") from error
    wanted = ("schema", *keys)
    if not isinstance(values, dict) or set(values) != set(wanted):
        found = ", ".join(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise UsageError(f"{where}: expected the keys {', '.join(wanted)}, found {found}")
    if values["schema"] != SCHEMA:
        raise UsageError(f"{where}: schema is {values['schema']!r}; this version reads {SCHEMA}")
    return values

"""From a node of a checked config to the object that it describes."""

from __future__ import annotations

from typing import Any

from lt_bench.config.trust import load
from lt_bench.errors import keyed
from lt_bench.preflight.validate import TARGETS


def build(settings: dict[str, Any], key: str, *supplied: Any) -> Any:
    """The object that a config node describes, parts first; a parameter that it cannot take is a UsageError."""
    beside = {*TARGETS.get(key, frozenset()), "_target_"}
    values = {
        name: build(value, f"{key}.{name}") if f"{key}.{name}" in TARGETS and value is not None else value
        for name, value in settings.items()
        if name not in beside
    }
    with keyed(key):
        return load(settings["_target_"])(*supplied, **values)

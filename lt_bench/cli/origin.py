"""Where the values of a config come from: the schema, a file of conf/, or the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from lt_bench.config import optimizers
from lt_bench.config.compose import choices, groups, leaves, parse
from lt_bench.config.conf import place_of
from lt_bench.config.layers import layers, merged

COMMAND_LINE = "the command line"


class Source(NamedTuple):
    """What sets values: a file as conf/group/choice.yaml, or the command line; the values as a tree."""

    name: str
    values: Any


def sources(overrides: Sequence[str]) -> list[Source]:
    """All that sets values of a config, the weakest first."""
    parsed = parse(overrides)
    chosen = choices(parsed)
    found = [Source(place_of(layer.name), layer.values) for layer in layers(chosen)]
    for override in parsed:
        if override.key_or_group == "optimizer":
            found += _optimizer(str(override.value()), OmegaConf.select(merged(chosen), "train.optimizer"))
    for override in parsed:
        if override.key_or_group not in groups() and not override.is_delete():
            for key, value in leaves(override.key_or_group, override.value()):
                found.append(Source(COMMAND_LINE, _nested(key, value)))
    return found


def last_setting(key: str, found: Sequence[Source]) -> tuple[str, Any] | None:
    """The name of the strongest source that sets a key, and the value as it stands there; None where none does."""
    for source in reversed(found):
        value = source.values
        for name in key.split("."):
            if not isinstance(value, dict) or name not in value:
                break
            value = value[name]
        else:
            return source.name, value
    return None


def _optimizer(choice: str, present: Any) -> list[Source]:
    """The file of an optimiser, where it is of another class than the one that the files before it describe."""
    values = optimizers.of_name(choice)
    before = optimizers.resolved(OmegaConf.to_container(present) or {})  # type: ignore[arg-type]
    other = values.get("_target_") != before.get("_target_")
    return [Source(place_of(f"optimizer/{choice}"), _nested("train.optimizer", values))] if other else []


def _nested(key: str, value: Any) -> Any:
    """A value under its dotted key."""
    for name in reversed(key.split(".") if key else []):
        value = {name: value}
    return value

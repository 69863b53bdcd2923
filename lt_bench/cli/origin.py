"""Where the values of a config come from: the schema, a file of conf/, or the command line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from lt_bench.config.compose import choices, groups, leaves, parse
from lt_bench.config.schema import register

COMMAND_LINE = "the command line"


class Source(NamedTuple):
    """What sets values: a file as conf/group/choice.yaml, or the command line; the values as a tree."""

    name: str
    values: Any


def sources(overrides: Sequence[str]) -> list[Source]:
    """All that sets values of a config, the weakest first."""
    found = list(_files(choices(parse(overrides))))
    for override in parse(overrides):
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


@cache
def _files(chosen: tuple[str, ...]) -> tuple[Source, ...]:
    """The files of some choices, the weakest first."""
    register()
    with initialize_config_module("lt_bench.conf", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        entries = loader.compute_defaults_list("config", list(chosen), RunMode.RUN).defaults
    found = []
    for entry in entries:
        file = files("lt_bench.conf") / f"{entry.config_path}.yaml"
        if file.is_file():
            values = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
            found.append(Source(f"conf/{entry.config_path}.yaml", _nested(entry.package or "", values)))
    return tuple(found)


def _nested(key: str, value: Any) -> Any:
    """A value under its dotted key."""
    for name in reversed(key.split(".") if key else []):
        value = {name: value}
    return value

"""The keys of the schema: what a dotted key is, and which nodes name a class."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple, get_args, get_type_hints

from omegaconf import MISSING

from lt_bench.config.schema import Config, StageTwo
from lt_bench.config.settings import Setting, default_of, setting_of
from lt_bench.config.signatures import REQUIRED, Parameter
from lt_bench.errors import UsageError

CLASS, PARAMETERS = "_target_", "options"  # the fields of a node that name its class and hold the class's parameters


class Key(NamedTuple):
    """A field of the schema: what it says of itself, its annotation, and the dataclass of the keys below it, if any."""

    setting: Setting
    annotation: str
    default: Any
    below: type | None
    is_open: bool  # whether further keys below it are parameters of a class
    affects_result: bool

    @property
    def is_node(self) -> bool:
        """Whether it holds further keys and no value of its own."""
        return self.below is not None or self.annotation.startswith("dict")


ROOT = Key(Setting("one run"), "Config", None, Config, False, True)


@cache
def fields_of(owner: type) -> dict[str, Field[Any]]:
    """The keys that a dataclass of the schema stands for."""
    return {field.name: field for field in fields(owner) if field.name != PARAMETERS}


@cache
def path(key: str) -> list[Key]:
    """The keys from the root to a dotted key, as far as the schema knows them: the last ones may be missing."""
    found = [ROOT]
    for name in key.split("."):
        owner = found[-1].below
        if owner is None or name not in fields_of(owner):
            break
        found.append(_key(owner, name, found[-1].affects_result))
    return found[1:]


def find(key: str) -> Key | None:
    """A key of the schema; None for a parameter of a class and for what does not exist."""
    found = path(key)
    return found[-1] if len(found) == key.count(".") + 1 else None


def is_parameter(key: str) -> bool:
    """Whether a key is one of a node that names a class, which says what there is: it may be anything here."""
    found, names = path(key), key.split(".")
    nodes = zip(range(1, len(names)), found, strict=False)
    return any(one.is_open and (one.setting.beside or depth >= len(found)) for depth, one in nodes)


def affects_result(key: str) -> bool:
    """Whether the value at a dotted key can change a run's result."""
    found = path(key)
    return not found or found[-1].affects_result


def look_up(key: str) -> Key:
    """A key of the schema; raises UsageError for an unknown one, with its neighbours."""
    found, names = path(key), key.split(".")
    if len(found) == len(names):
        return found[-1]
    above, name = ".".join(names[: len(found)]), names[len(found)]
    owner = (found or [ROOT])[-1].below
    if owner is None:
        raise UsageError(f"unknown key {key}: {above} is a single value; set it as {above}=VALUE")
    where = f"keys of {above}" if above else "keys there are"
    near = nearest(name, fields_of(owner)) or _elsewhere(name)
    raise UsageError(f"unknown key {key}{near}; {where}: {', '.join(fields_of(owner))}")


@cache
def annotation_of(key: str) -> ast.expr:
    """The annotation of a single value in the schema; raises UsageError for a node and for an unknown key."""
    found = look_up(key)
    if found.is_node:
        raise UsageError(no_single_value(key))
    return ast.parse(found.annotation, mode="eval").body


@cache
def class_nodes() -> dict[str, type]:
    """The nodes that name a class, with the dataclass of the keys that stand beside the parameters."""
    return dict(_class_nodes(Config, ""))


@cache
def beside(owner: type) -> dict[str, Parameter]:
    """The keys that stand beside the parameters of a class, as if they were parameters too."""
    found = {}
    for name, field in fields_of(owner).items():
        default = default_of(field)
        annotation = ast.parse(str(field.type), mode="eval").body
        found[name] = Parameter(REQUIRED if default == MISSING else default, annotation)
    return {name: parameter for name, parameter in found.items() if name != CLASS}


def nearest(word: str, words: Iterable[str]) -> str:
    """A question that names the most similar of some words, capital letters or not; empty where none is similar."""
    known = {one.casefold(): one for one in words}
    close = difflib.get_close_matches(word.casefold(), known, n=1)
    return f" (did you mean {known[close[0]]}?)" if close else ""


def no_single_value(key: str, keys: Sequence[str] = ()) -> str:
    """What to say where a value is given to a node that holds further keys, some of them ``keys``."""
    such = f", such as {key}.{keys[0]}=VALUE" if keys else ""
    return f"{key} is no single value; set what is in it as {key}.KEY=VALUE{such}"


def _elsewhere(name: str) -> str:
    """A question that names the shortest key that ends so, as train.lr; empty where there is none."""
    found = min(_named(Config, "", name), key=len, default=None)
    return f" (did you mean {found}?)" if found else ""


def _named(owner: type, prefix: str, name: str) -> Iterator[str]:
    for field in fields_of(owner):
        if field == name:
            yield f"{prefix}{field}"
        elif (below := _key(owner, field, True).below) is not None:
            yield from _named(below, f"{prefix}{field}.", name)


@cache
def _key(owner: type, name: str, affects: bool) -> Key:
    field = fields_of(owner)[name]
    setting, hint = setting_of(field), get_type_hints(owner)[name]
    kinds = (hint, *get_args(hint))
    below = setting.beside or next((kind for kind in kinds if is_dataclass(kind)), None)
    assert below is None or isinstance(below, type)
    is_open = setting.beside is not None or setting.of_nodes or below is StageTwo
    affects = affects and setting.affects_result
    return Key(setting, str(field.type), default_of(field), below, is_open, affects)


def _class_nodes(owner: type, prefix: str) -> Iterator[tuple[str, type]]:
    for name in fields_of(owner):
        key = _key(owner, name, True)
        if key.below is None:
            continue
        if key.is_open:
            yield prefix + name, key.below
        yield from _class_nodes(key.below, f"{prefix}{name}.")

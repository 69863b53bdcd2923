"""YAML that anybody may have written: plain values, and nothing that a few lines blow up to gigabytes."""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config.settings import MOST_NUMBER

MOST_VALUES = 100_000  # in a text, with those of a part that is repeated by name counted each time
_MAYBE_ALIAS = re.compile(r"(?:^|[\s\[{,:-])\*\S", re.MULTILINE)


class TooManyValues(ValueError):
    """A YAML text whose values, with those that it repeats by name, are more than anybody writes."""


def parse_yaml(text: str) -> Any:
    """The values in a YAML text, references as they stand; ValueError where it is none or ``check_size`` refuses it."""
    try:
        check_size(text)
        values = OmegaConf.to_container(OmegaConf.create(text))
    except TooManyValues:
        raise
    except (yaml.YAMLError, OmegaConfBaseException, OSError, RecursionError, ValueError, AssertionError) as error:
        mark = getattr(error, "problem_mark", None)
        said = f"line {mark.line + 1}: {error.problem}" if mark else str(error).partition("\n")[0] or "nothing in it"  # type: ignore[union-attr]
        raise ValueError(f"no YAML ({said})") from error
    if _has_beyond(values):
        raise ValueError(f"a whole number in it is larger than {MOST_NUMBER:.2g}, which nothing computes with")
    return values


def _has_beyond(values: Any) -> bool:
    """Whether a whole number in a tree is larger than any float."""
    if isinstance(values, (dict, list)):
        return any(map(_has_beyond, values.values() if isinstance(values, dict) else values))
    return isinstance(values, int) and abs(values) > MOST_NUMBER


def check_size(text: str) -> None:
    """Raise TooManyValues for a YAML text of too many values, ``yaml.YAMLError`` for none.

    Parts that are repeated by name (``&a``, ``*a``) inside such parts make ten lines too large for any memory.
    """
    if _MAYBE_ALIAS.search(text):
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _values(node, {}) > MOST_VALUES:
            raise TooManyValues(f"it repeats parts of it (*NAME) to more than {MOST_VALUES:,} values")


def _values(node: Any, known: dict[int, float]) -> float:
    """The values in a node; infinite for one that is inside itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")  # as long as it is being counted
        inside = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for item in inside for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]

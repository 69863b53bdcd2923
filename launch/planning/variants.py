"""The validated configs of many runs: runs that differ only in plain values are composed once."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from lt_bench.config.compose import compose, groups, parse
from lt_bench.config.keys import annotation_of, is_parameter
from lt_bench.config.schema import Config
from lt_bench.config.stages import StageName
from lt_bench.errors import UsageError
from lt_bench.preflight.combinations import incompatible
from lt_bench.preflight.ranges import out_of_range
from lt_bench.preflight.validate import validate

PLAIN = {"int": int, "float": float, "bool": bool, "str": str}


class Variants:
    """``validate(compose(overrides))`` for the runs of a sweep, in a fraction of the time.

    An override such as ``seed=3``, of a typed key that no reference in the config mentions, changes that one value of
    the validated config and nothing else. So all runs with the same other overrides share one composition.
    """

    def __init__(self) -> None:
        self._bases: dict[tuple[str, ...], tuple[Config, str] | None] = {}

    def __call__(self, overrides: Sequence[str]) -> Config:
        """The validated config of one run; raises UsageError."""
        parsed = parse(overrides)
        nested = any(isinstance(override.value(), dict) for override in parsed)
        plain = [] if nested else [override for override in parsed if _is_plain(override)]
        if not plain:
            return validate(compose(overrides))
        keys = {override.key_or_group for override in plain}
        others = tuple(text for text, one in zip(overrides, parsed, strict=True) if one.key_or_group not in keys)
        found = self._base(others)
        if found is None:
            return validate(compose(overrides))
        base, references = found
        if "${." in references or any(re.search(rf"(?<![\w.]){re.escape(key)}(?!\w)", references) for key in keys):
            return validate(compose(overrides))
        config = copy.deepcopy(base)
        for override in plain:
            _set(config, override.key_or_group, override.value())
        for find in (out_of_range, incompatible):
            if problems := list(find(config)):
                raise UsageError("\n".join(problems))
        return config

    def _base(self, overrides: tuple[str, ...]) -> tuple[Config, str] | None:
        """The validated config of the other overrides, and all references in it before they were resolved.

        None where these overrides are invalid alone: they may need a value that a plain override sets.
        """
        if overrides not in self._bases:
            try:
                composed = compose(overrides)
                texts = _texts(OmegaConf.to_container(composed, resolve=False))
                self._bases[overrides] = validate(composed), "\n".join(text for text in texts if "${" in text)
            except UsageError:
                self._bases[overrides] = None
        return self._bases[overrides]


def _is_plain(override: Override) -> bool:
    """Whether an override sets a typed key of the schema to a value of exactly this type."""
    key = override.key_or_group
    if (
        override.is_delete()
        or override.is_sweep_override()
        or key in groups()
        or key.endswith("._target_")
        or key.startswith(("stage_two.", "budget."))
        or key == f"{StageName.ONE.training}.epochs"  # other values move with it
        or is_parameter(key)
    ):
        return False
    annotation = annotation_of(key)
    kind = PLAIN.get(annotation.id) if isinstance(annotation, ast.Name) else None
    return type(override.value()) is kind and "$" not in str(override.value())


def _set(config: Config, key: str, value: Any) -> None:
    *above, name = key.split(".")
    node: Any = config
    for part in above:
        node = getattr(node, part)
    setattr(node, name, value)


def _texts(tree: Any) -> Iterator[str]:
    """All texts in a tree of dictionaries and lists."""
    if isinstance(tree, (dict, list)):
        yield from chain.from_iterable(map(_texts, tree.values() if isinstance(tree, dict) else tree))
    elif isinstance(tree, str):
        yield tree

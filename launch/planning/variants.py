"""The validated configs of many runs: runs that differ only in plain values are composed once."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from lt_bench.config.annotations import coerce
from lt_bench.config.compose import choices, compose, groups, parse
from lt_bench.config.conf import is_own, values_of
from lt_bench.config.factors import FACTOR, follows_factor
from lt_bench.config.keys import annotation_of, is_parameter
from lt_bench.config.layers import layers
from lt_bench.config.own_files import cached
from lt_bench.config.schema import Config
from lt_bench.config.stages import StageName
from lt_bench.errors import UsageError
from lt_bench.preflight.ranges import wrong_value
from lt_bench.preflight.validate import OF_VALUES, validate
from lt_bench.record.identity import identities_by_seed

UNTOLD = re.compile(r"\$\{[^:}]*\$\{")  # of a key that has another reference in it, nobody knows which it is
SEED, IMBALANCE = "seed", "imbalance"
PLAIN = {"int": int, "float": float, "bool": bool, "str": str}
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")  # ${train[lr]} is ${train.lr}, and a reference may begin with one


class Variant(NamedTuple):
    """The validated config of a run, whose parts other seeds share; identities of the run and its stage one by seed."""

    config: Config
    of_seed: Callable[[int], tuple[str, str]]


class Base(NamedTuple):
    """The validated config of the overrides that are not plain, and all references in it before they were resolved.

    ``factor_stands``: the imbalance is more than the factor of a chosen file, so that another choice is not all of it.
    """

    config: Config
    references: str
    factor_stands: bool

    def follows(self, key: str) -> bool:
        """Whether more than the value of this key may change with it."""
        if key == FACTOR and (self.factor_stands or follows_factor(self.references)):
            return True
        return UNTOLD.search(self.references) is not None or _mentions(self.references, key)


class Variants:
    """``validate(compose(overrides))`` for the runs of a sweep, and their identities, in a fraction of the time.

    An override such as ``train.lr=3``, of a typed key that no reference in the config mentions, changes that one value
    of the validated config and nothing else, and so does ``imbalance=if50``, whose file has a factor alone. So all runs
    with the same other overrides share one composition. The seed beside that goes with any other value, and is one
    value of the identities: runs that differ in it share them too.
    """

    def __init__(self) -> None:
        self._bases: dict[tuple[str, ...], Base | None] = {}
        self._seedless: dict[tuple[str, ...], Variant | None] = {}

    def __call__(self, overrides: Sequence[str]) -> Variant:
        """One run; raises UsageError."""
        parsed = parse(overrides)
        plain = (one.value() for one in parsed if one.key_or_group == SEED and _is_plain(one))
        seeds = [value for value in plain if isinstance(value, int)]
        others = tuple(text for text, one in zip(overrides, parsed, strict=True) if one.key_or_group != SEED)
        if seeds and len(seeds) + len(others) == len(overrides) and not any(map(_wrong_seed, seeds)):
            if others not in self._seedless:
                self._seedless[others] = self._without_seed(others)
            if (shared := self._seedless[others]) is not None:
                return shared._replace(config=replace(shared.config, seed=seeds[-1]))
        config = self._config(overrides)
        return Variant(config, identities_by_seed(config))

    def _without_seed(self, overrides: tuple[str, ...]) -> Variant | None:
        """What runs with any seed share; None where something follows the seed, or is wrong, also without it."""
        _, others = _parted(overrides)
        base = self._base(others)
        if base is None or base.follows(SEED):
            return None
        try:
            config = self._config(overrides)
            return Variant(config, identities_by_seed(config))
        except UsageError:
            return None

    def _config(self, overrides: Sequence[str]) -> Config:
        plain, others = _parted(overrides)
        found = self._base(others)
        if found is None or any(map(found.follows, plain)):
            return validate(compose(overrides))
        config = copy.deepcopy(found.config)
        if not plain:
            return config
        for key, value in plain.items():
            _set(config, key, value)
        for find in OF_VALUES:
            if problems := list(find(config)):
                raise UsageError("\n".join(problems))
        return config

    def _base(self, overrides: tuple[str, ...]) -> Base | None:
        """None where these overrides are invalid alone: they may need a value that a plain override sets."""
        if overrides not in self._bases:
            try:
                composed = compose(overrides)
                texts = _texts(OmegaConf.to_container(composed, resolve=False))
                references = _BRACKETS.sub(r".\1", "\n".join(text for text in texts if "${" in text))
                self._bases[overrides] = Base(validate(composed), references, _says_more_of_imbalance(overrides))
            except UsageError:
                self._bases[overrides] = None
        return self._bases[overrides]


def _parted(overrides: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the plain ones of some overrides set, nothing where one is a dictionary, and the words of the others."""
    parsed = parse(overrides)
    nested = any(isinstance(override.value(), dict) for override in parsed)
    found = [(override.key_or_group, {} if nested else _plain_values(override)) for override in parsed]
    others = {key for key, values in found if not values}  # of several words for one key the last counts, plain or not
    values = {name: value for key, values in found if key not in others for name, value in values.items()}
    return values, tuple(text for text, (key, _) in zip(overrides, found, strict=True) if key in others)


def _plain_values(override: Override) -> Mapping[str, Any]:
    """What a plain override sets; nothing where it is none."""
    key, value = override.key_or_group, override.value()
    if key == IMBALANCE and isinstance(value, str) and not override.is_delete():
        return _factor_of(value)
    return {key: value} if _is_plain(override) else {}


@cached
def _factor_of(choice: str) -> Mapping[str, Any]:
    """What a choice of the package's imbalances sets, where that is its factor alone."""
    name = f"{IMBALANCE}/{choice}"
    values = {} if is_own(name) else {f"{IMBALANCE}.{key}": value for key, value in values_of(name).items()}
    return {FACTOR: coerce(values[FACTOR], annotation_of(FACTOR))} if values.keys() == {FACTOR} else {}


def _says_more_of_imbalance(overrides: tuple[str, ...]) -> bool:
    """Whether the imbalance of some overrides is more than the factor in the file of a choice."""
    parsed = parse(overrides)
    found = layers(choices(parsed))
    place = next(number for number, layer in enumerate(found) if layer.name.startswith(f"{IMBALANCE}/"))
    set_by = [layer.values.get(IMBALANCE) for layer in found[place:] if isinstance(layer.values, dict)]
    alone = [values.keys() for values in set_by if values] == [{"factor"}]
    return not alone or any(one.key_or_group.partition(".")[0] == IMBALANCE for one in parsed)


def _mentions(references: str, key: str) -> bool:
    """Whether some references may be to a key, or to a node that it is in: those to a neighbour do not say to which."""
    parts = key.split(".")
    nodes = (rf"{re.escape('.'.join(parts[:count]))}(?![\w.])" for count in range(1, len(parts)))
    one = "|".join((*nodes, rf"{re.escape(key)}(?!\w)"))
    return re.search(rf"\$\{{\s*\.|(?<![\w.])(?:{one})", references) is not None


def _wrong_seed(value: Any) -> bool:
    """Whether a value is no seed."""
    return any(wrong_value(SEED, value))


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

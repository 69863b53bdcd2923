"""Which choices of groups a method was made of: method=ce mixing=cmo of what records call ce_cmo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lt_bench.config.compose import choices, parse
from lt_bench.config.conf import names_in, values_of
from lt_bench.config.layers import layers
from lt_bench.config.own_files import cached
from lt_bench.config.recipes import COMPONENTS, NONE, PLAIN, bare
from lt_bench.config.signatures import OPAQUE, REQUIRED, TargetError, parameters

PARTS = (*COMPONENTS, "finetune")  # groups of which a method may have a choice beside its loss
VARIANT = "variant"


def made_of(name: str, title: str, dataset: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The choices by group: "method", those of ``PARTS`` that are not the method's own, and a variant but the plain.

    ``settings`` have dotted keys, less those that have their defaults. NONE stands for a part that the method has by
    itself on the data set and that was taken away, a name of a class for one that is no choice of its group. A variant
    is known by its title alone. Raises UsageError for a file of conf/ that cannot be read.
    """
    nodes = {group: _below(settings, f"method.{group}.") for group in PARTS}
    method = bare({"name": name, **nodes})
    own = _own_nodes(method, dataset)
    parts = {group: (_choice(group, nodes[group]), _choice(group, own.get(group, {}))) for group in PARTS}
    ending = [choice for choice in names_in(VARIANT) if choice != PLAIN and title.endswith(f"({choice})")]
    made = {"method": method, **{group: choice for group, (choice, usual) in parts.items() if choice != usual}}
    return made | ({VARIANT: ending[0]} if ending else {})


def part_of(settings: Mapping[str, Any], group: str) -> str:
    """The choice of a group of ``PARTS`` that flat settings have, the method's own or typed; else as ``made_of``."""
    return _choice(group, _below(settings, f"method.{group}."))


def _below(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


@cached
def _own_nodes(method: str, dataset: str) -> dict[str, dict[str, Any]]:
    """What a method has by itself on a data set, by group; nothing where conf/ has not both."""
    if method not in names_in("method") or dataset not in names_in("dataset"):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for layer in layers(choices(parse([f"method={method}", f"dataset={dataset}"]))):
        node = layer.values.get("method", {}) if isinstance(layer.values, dict) else {}
        found |= {group: {**found.get(group, {}), **node[group]} for group in PARTS if node.get(group)}
    return found


def _choice(group: str, node: Mapping[str, Any]) -> str:
    """The choice of a group whose file has a node's class and most of its values; NONE for no node, else the class."""
    if not (target := node.get("_target_")):
        return NONE
    there = {choice: values for choice, values in _files(group).items() if values.get("_target_") == target}
    whole = {**_defaults(str(target)), **node} if there else {}
    agreeing = {
        choice: sum(1 if whole.get(name) == value else -1 for name, value in values.items())
        for choice, values in there.items()
    }
    return max(agreeing, key=lambda choice: agreeing[choice], default=str(target))


@cached
def _files(group: str) -> dict[str, dict[str, Any]]:
    """What the file of each choice of a group says of its node; nothing for one that has none."""
    return {choice: values_of(f"{group}/{choice}").get("method", {}).get(group, {}) for choice in names_in(group)}


def _defaults(target: str) -> dict[str, Any]:
    """The defaults of a class's parameters, read and never imported; none where nobody knows the class."""
    try:
        known = parameters(target).items()
    except TargetError:
        return {}
    return {name: one.default for name, one in known if one.default not in (OPAQUE, REQUIRED)}

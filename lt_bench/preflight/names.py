"""Names and titles that stand for another class than the one that is run: a record says CE of nothing but CE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from lt_bench.config import trust
from lt_bench.config.compose import NAMED, groups, target_of, titles
from lt_bench.config.recipes import COMPONENTS, NONE
from lt_bench.config.schema import Config, node


def misnamed(config: Config) -> Iterator[str]:
    """One line for every name or title of a choice of a group whose class is another one; unneeded versions of code."""
    for group in NAMED:
        name, title, target = (node(config, f"{group}.{key}") for key in ("name", "title", "_target_"))
        known = name in groups()[group]
        if known and target_of(group, name) != target:
            yield _claims(group, "name", name, f"{group}={name}", target)
        if (
            title is not None
            and (owner := titles(group).get(title, name)) != name
            and target_of(group, owner) != target
        ):
            yield _claims(group, "title", title, f"{group}={owner}", target)
    for group in COMPONENTS:
        part = node(config, f"method.{group}") or {}
        for choice in groups()[group]:
            own = choice != NONE and str(config.method["name"]).endswith(f"_{choice}") and part.get("_target_")
            if own and target_of(group, choice) != own:
                yield _claims("method", "name", config.method["name"], f"{group}={choice}", own)
    used = {trust.stage_of(key) for key, _ in trust.own_targets(config)}
    for stage, typed in asdict(config.own_code).items():
        if typed is not None and stage not in used:
            yield f"own_code.{stage}={typed} is a version of code of your own, and none is run there; leave it out"


def _claims(group: str, key: str, word: str, choice: str, target: str) -> str:
    return f"{group}.{key}={word} stands for {choice}, and {target} is another; set {group}.{key}=NAME"

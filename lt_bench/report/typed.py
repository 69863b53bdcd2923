"""Settings of a row that its recipe has otherwise, and that neither its label nor its caption says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from math import isnan
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config.components import made_of
from lt_bench.config.compose import compose, groups
from lt_bench.config.conf import values_of
from lt_bench.config.factors import FACTOR, follows_factor
from lt_bench.config.own_files import cached
from lt_bench.config.recipes import NONE
from lt_bench.config.schema import flat
from lt_bench.errors import UsageError
from lt_bench.record.conditions import word
from lt_bench.report.sections import Row, Section

CHOSEN = ("dataset", "stage_two", "fidelity")
FIRST = (*CHOSEN, "imbalance_profile", "budget", "method", "method_name", "backbone")  # what the runs of a row share
NODES = ("method.", "train.", "stage_two.")
DATA = ("dataset.", "backbone.")  # which captions tell


def beside_recipes(section: Section) -> str:
    """Which rows of a table have settings of their own, and which; empty for none.

    They are compared with the recipes of this version; a row whose method, rule or data set conf/ does not know is left
    out, and so is what only follows from other epochs, which the caption tells.
    """
    told = [(row.label, [f"{key}={word(value)}" for key, value in own_settings(row)]) for row in section.rows]
    rows = [f"{label}: {', '.join(words)}" for label, words in told if words]
    return f"Other than in the recipe: {'; '.join(rows)}." if rows else ""


def own_settings(row: Row, nodes: tuple[str, ...] = NODES) -> Iterator[tuple[str, Any]]:
    """The settings of a row below some nodes that its recipe has otherwise, and that its label does not tell.

    Its recipe is that of the method with the components and of the variant that it is made of; a component that the
    method has by itself and the row has not is told as its group with none. None where conf/ does not know its method,
    rule or data set.
    """
    factor = float(row.runs["imbalance_factor"].to_numpy()[0])
    first = (str(row.runs[name].iat[0]) for name in FIRST)
    without, settings = _otherwise(row.fields["settings"], None if isnan(factor) else factor, *first)
    if "method." in nodes:
        yield from ((group, NONE) for group in without)
    yield from ((key, value) for key, value in settings if key.startswith(nodes) and f"{key}=" not in row.key)


@cached
def _otherwise(text: str, factor: float | None, *values: str) -> tuple[list[str], list[tuple[str, Any]]]:
    """The groups with none, and the settings, that runs of some settings have otherwise than their recipe."""
    settings: dict[str, Any] = json.loads(text)
    first = dict(zip(FIRST, values, strict=True))
    own = {key: value for key, value in settings.items() if key.startswith("budget.")}
    own["imbalance.profile"] = first["imbalance_profile"]
    budget = first["budget"] if first["budget"] in groups()["budget"] else "paper"
    made = made_of(first["method"], first["method_name"], first["dataset"], settings)
    typed = made | {key: first[key] for key in CHOSEN}
    typed |= network(first["backbone"], settings.get("backbone.model")) | {"budget": budget}
    chosen = [f"{key}={value}" for key, value in typed.items()]
    words = (*chosen, *(f"{key}={json.dumps(value)}" for key, value in own.items()))
    recipe, of_factor = _recipe(words)
    if of_factor:  # else one recipe is that of all tables of a study
        recipe, _ = _recipe((*words, f"{FACTOR}={json.dumps(factor)}"))
    if not recipe:
        return [], []
    found = []
    for key, value in settings.items():
        stage = key.partition("train.")[0]
        moved = recipe.get(f"{stage}train.epochs") != settings.get(f"{stage}train.epochs")
        told = "epoch" in key or (moved and ".schedule." in key)
        named = key.endswith(("_target_", ".name"))  # what older versions write otherwise
        if key.startswith((*NODES, *DATA)) and not told and not named and recipe.get(key) != value:
            found.append((key, value))
    return [group for group, choice in made.items() if choice == NONE], found


def network(name: str, model: str | None) -> dict[str, str]:
    """What is typed to choose a network; one of timm is called by its model, whichever file names that."""
    if name in groups()["backbone"] or model is None:
        return {"backbone": name}
    of_model = [choice for choice in groups()["backbone"] if values_of(f"backbone/{choice}").get("model") == model]
    return {"backbone": next(iter(of_model), "timm"), "backbone.model": json.dumps(model)}


@cache
def _recipe(words: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
    """The values that some choices stand for, by dotted key, and whether any of them refers to the imbalance factor.

    No value where this version has no such choices.
    """
    found: dict[str, Any] = {}
    try:
        config = compose(words)
        values = flat(OmegaConf.to_container(config)).values()  # type: ignore[arg-type]
        of_factor = any(map(follows_factor, map(str, values)))
        for prefix in (*NODES, *DATA):
            found |= flat(OmegaConf.to_container(config[prefix.strip(".")], resolve=True), prefix)  # type: ignore[arg-type]
    except (UsageError, HydraException, OmegaConfBaseException):  # of another version, or of somebody's own
        return {}, True
    return found, of_factor

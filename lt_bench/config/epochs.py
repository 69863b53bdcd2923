"""Numbers of epochs in conf/: what they are under a budget, and when the epochs of a stage are typed.

In files, ``${epochs:N}`` is N epochs of the recipe, and ``${epochs:N,M}`` as well, but never less than M. Where
the ``epochs`` of a stage are typed, whatever else of it is counted in epochs is multiplied by typed / recipe's epochs,
unless it is typed as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from omegaconf import DictConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config.settings import MOST_COUNT, MOST_EPOCH_SCALE
from lt_bench.config.stages import StageName, stage_of
from lt_bench.errors import UsageError

RESOLVERS = ("epochs", "quirk_epochs", "longer_part")
REFERENCE = re.compile(r"\$\{epochs: *([\d.]+)(?:, *\d+)?\}")
# What belongs to a stage in time; everything else has no epochs.
PARTS = {StageName.ONE: ("train", "method"), StageName.TWO: ("stage_two",)}


def register() -> None:
    """Make ``${epochs:N}``, ``${quirk_epochs:N}`` and ``${longer_part:N,ALL}`` known to OmegaConf."""
    for name in RESOLVERS:
        OmegaConf.register_new_resolver(name, globals()[name], replace=True)


def epochs(count: float, least: int = 1, *, _node_: Node, _root_: DictConfig) -> int:
    """A recipe's count of epochs as a whole number, ``least`` or more: 2 where the last epoch has no rate.

    What lies inside the recipe's run stays inside, also where rounding would take it to the end; not so with
    ``budget.rescale=false``.
    """
    key = _node_._get_full_key(None)
    stage = stage_of(key)
    training = OmegaConf.select(_root_, stage.training)
    if key == f"{stage.training}.epochs" or training is None:
        return max(least, _rounded(count * _scale(_root_)))
    moved, of = _rounded(_scaled(count, training, _root_)), _recipe_epochs(training)
    inside = _root_.budget.rescale and of is not None and count < of
    return min(moved, max(1, training.epochs - 1)) if inside else moved


def quirk_epochs(count: float, *, _node_: Node, _root_: DictConfig) -> float:
    """A count of epochs that a quirk of the authors' code adds, not rounded; as it is where there are no quirks."""
    training = OmegaConf.select(_root_, stage_of(_node_._get_full_key(None)).training)
    moves = _root_.fidelity == "official" and _root_.budget.rescale
    return float(_scaled(count, training, _root_) if moves else count)


def longer_part(first: int, total: int) -> int:
    """The epochs of the longer part of a run that begins anew after its first epochs."""
    return max(first, total - first)


def lengths(config: DictConfig) -> dict[StageName, int | None]:
    """The epochs of every stage's recipe, as files have them; None for a stage that is not trained."""
    trainings = {stage: OmegaConf.select(config, stage.training) for stage in StageName}
    return {stage: None if training is None else _recipe_epochs(training) for stage, training in trainings.items()}


def stretch(config: DictConfig, recipes: dict[StageName, int | None], typed: Iterable[str]) -> None:
    """Write into a config of which stages the epochs are typed, and which keys move with them.

    ``recipes`` are the ``lengths`` before anything was typed, ``typed`` the keys that were. Raises UsageError where
    the length of a recipe alone is typed.
    """
    typed, moved = set(typed), list[str]()
    for stage, recipe in recipes.items():
        training = OmegaConf.select(config, stage.training)
        named = [name for name in ("epochs", "recipe_epochs") if f"{stage.training}.{name}" in typed]
        if recipe is None or not named:
            continue
        if "epochs" not in named:
            if training.recipe_epochs is None:
                continue
            key = f"{stage.training}.recipe_epochs"
            raise UsageError(
                f"{key} says how long the recipe is where other epochs are typed, and none are; add "
                f"{stage.training}.epochs=N, or leave it out"
            )
        try:
            usual = training.epochs == _rounded(recipe * _scale(config))
        except OmegaConfBaseException:  # no value, or a reference to nothing: the preflight says so
            continue
        if not usual or "recipe_epochs" in named:
            training.recipe_epochs = training.recipe_epochs or recipe
            moved += moving(config, stage) if config.budget.rescale else []
    config.budget.moved = moved


def moving(config: DictConfig, stage: StageName) -> list[str]:
    """The keys of a stage that move with its epochs, because files count them in epochs and nothing typed does."""
    found = [key for part in PARTS[stage] for key in _references(OmegaConf.select(config, part), part)]
    return [key for key in found if key != f"{stage.training}.epochs"]


def _references(node: Any, key: str) -> Iterator[str]:
    """The dotted keys of values that refer to a recipe's epochs; a list counts as one value."""
    tree: Any = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else node
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if isinstance(value, dict):
            yield from _references(value, f"{key}.{name}")
        elif REFERENCE.search(repr(value)):
            yield f"{key}.{name}"


def _scaled(count: float, training: DictConfig | None, root: DictConfig) -> float:
    if training is None or training.recipe_epochs is None or not root.budget.rescale:
        return count * _scale(root)
    typed: int = training.epochs
    return count * typed / training.recipe_epochs if typed <= MOST_COUNT else count  # more are refused as typed


def _scale(root: DictConfig) -> float:
    """The factor of the budget; 1 for one that cannot be, which the preflight refuses under its own key."""
    scale: float = root.budget.epoch_scale
    return scale if abs(scale) <= MOST_EPOCH_SCALE else 1.0


def _recipe_epochs(training: DictConfig) -> int | None:
    """The epochs of the recipe before any budget: a number in ``${epochs:N}``, or a literal one."""
    if training.recipe_epochs is not None:
        return int(training.recipe_epochs)
    node = training._get_node("epochs")
    assert isinstance(node, Node)
    value: Any = node._value()
    written = str(value)  # a reference is kept as text
    if found := REFERENCE.fullmatch(written):
        return round(float(found[1]))
    return int(written) if written.isdecimal() else None


def _rounded(count: float) -> int:
    return max(1, round(count))

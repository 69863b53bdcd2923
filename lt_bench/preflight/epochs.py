"""Lengths that do not go together: what begins when its stage is over, and schedules that end before it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from lt_bench.config.compose import shown
from lt_bench.config.schema import Config, Training, node
from lt_bench.config.signatures import class_attribute, parameters
from lt_bench.config.stages import StageName, stage_of
from lt_bench.config.trust import load
from lt_bench.errors import SettingError

OUR_SCHEDULES = "lt_bench.engine.schedules."  # import no torch, so they may be built here
AT_ALL = 0.01  # a rate below this share of the schedule's highest trains nothing


class Flaw(NamedTuple):
    """What is wrong with the lengths of a stage, and what to type instead."""

    what: str
    advice: str


def incompatible_epochs(config: Config) -> Iterator[str]:
    """One line for every length that does not fit; none where epochs are cut short, as in a smoke run."""
    if config.budget.max_steps_per_epoch is None:
        yield from (f"{flaw.what}; {flaw.advice}" for flaw in flaws(config))


def not_reached(config: Config) -> list[str]:
    """The same of a run whose epochs are cut short, which is carried out nevertheless, for its record."""
    return [] if config.budget.max_steps_per_epoch is None else [flaw.what for flaw in flaws(config)]


def moved(config: Config, stage: StageName) -> dict[str, Any]:
    """The keys of a stage that moved with its epochs, which were typed, and their values."""
    return {key: node(config, key) for key in config.budget.moved if stage_of(key) is stage}


def remarks(config: Config) -> list[str]:
    """Lines on what the epochs that are typed do to the rest of a recipe, and on what is not reached."""
    lines = []
    for stage in StageName:
        training: Training | None = node(config, stage.training)
        if training is not None and training.recipe_epochs is not None:
            words = [f"{key}={shown(value)}".replace(", ", ",") for key, value in moved(config, stage).items()]
            with_it = f"with it move {' '.join(words)}" if words else "nothing moves with it"
            lines.append(
                f"{stage.training}.epochs={training.epochs} of the recipe's {training.recipe_epochs}: {with_it}"
            )
    return lines + not_reached(config)


def flaws(config: Config) -> Iterator[Flaw]:
    """Everything that does not fit into the epochs of its stage."""
    for stage in StageName:
        training: Training | None = node(config, stage.training)
        if training is not None:
            yield from [*_begins_too_late(config, stage, training)] or _schedule(config, stage, training)


def _begins_too_late(config: Config, stage: StageName, training: Training) -> Iterator[Flaw]:
    """What would begin after the last epoch, by what classes say of their parameters."""
    for key, values in _parts(config, stage, training):
        target = values["_target_"]
        least = class_attribute(target, "least_epochs", 1)
        if isinstance(least, int) and training.epochs < least:
            what = f"{stage.training}.epochs={training.epochs}: {target.rpartition('.')[2]} takes {least} or more"
            yield Flaw(what, f"set {stage.training}.epochs={least} or more")
        names = class_attribute(target, "begins_at")
        for name in names if isinstance(names, list) else ():
            value = values.get(name, parameters(target)[name].default if name in parameters(target) else None)
            at = [epoch for epoch in (value if isinstance(value, list) else [value]) if isinstance(epoch, int)]
            if at and max(at) >= training.epochs:
                has = "1 epoch" if training.epochs == 1 else f"{training.epochs} epochs"
                what = f"{key}.{name}={shown(value)} is not reached: {stage.value} has {has}, counted from 0"
                yield Flaw(what, _advice(config, stage, training, f"{key}.{name}", at, isinstance(value, list)))
            else:
                yield from _ends_too_early(stage, training, key, values, max(at, default=0))


def _ends_too_early(
    stage: StageName, training: Training, key: str, values: dict[str, Any], begins: int
) -> Iterator[Flaw]:
    """What would end before it begins: a class's ``ends_before`` names how many of the last epochs are without it."""
    name = class_attribute(values["_target_"], "ends_before")
    last = values.get(name, parameters(values["_target_"])[name].default) if isinstance(name, str) else None
    if isinstance(last, int) and begins + last >= training.epochs:
        what = f"{key}.{name}={last}: no epoch is left between epoch {begins} and the last {last} of {training.epochs}"
        fitting = training.epochs - begins - 1
        short = f"{stage.training}.epochs={begins + 2} or more"
        yield Flaw(what, f"set {f'{key}.{name}={fitting}' if fitting > 0 else short}")


def _parts(config: Config, stage: StageName, training: Training) -> Iterator[tuple[str, dict[str, Any]]]:
    """The nodes of a stage that name a class, by dotted key."""
    rule = config.stage_two
    owner = ("method", config.method) if stage is StageName.ONE else ("stage_two", rule.parameters())
    for key, values in (owner, (f"{stage.training}.schedule", training.schedule)):
        yield key, values
        inner = ((f"{key}.{name}", value) for name, value in values.items() if isinstance(value, dict))
        yield from ((name, value) for name, value in inner if "_target_" in value)


def _schedule(config: Config, stage: StageName, training: Training) -> Iterator[Flaw]:
    """What is wrong with one of our schedules over the longest part of a stage that it is asked for."""
    key, values = f"{stage.training}.schedule", dict(training.schedule)
    target, length = str(values.pop("_target_")), _longest_part(config, stage, training)
    if not target.startswith(OUR_SCHEDULES):
        return
    epochs = values.get("epochs")
    if isinstance(epochs, int) and epochs < length:
        what = f"{key}.epochs={epochs} is less than the {length} epochs that it is for: the rate would rise again"
        yield Flaw(what, f"set {key}.epochs={length}")
    elif length == 1:
        try:
            rate = load(target)(**values)(0, 0, 100)
        except SettingError:
            return  # said where schedules are built
        if rate < AT_ALL * values.get("lr", training.lr):
            what = f"{stage.training}.epochs=1: the only epoch has the rate {rate:.2g}, the last of its schedule"
            yield Flaw(what, f"set {stage.training}.epochs=2 or more")


def _longest_part(config: Config, stage: StageName, training: Training) -> int:
    """The epochs of the longest part of a stage: the whole, unless its method begins anew."""
    method = config.method
    at = class_attribute(method["_target_"], "restarts_at") if stage is StageName.ONE else None
    if not isinstance(at, str) or not method.get("restart", True):
        return training.epochs
    first = method.get(at, parameters(method["_target_"])[at].default)
    return max(first, training.epochs - first)


def _advice(config: Config, stage: StageName, training: Training, key: str, at: list[int], is_list: bool) -> str:
    """Words under which everything is reached."""
    if training.epochs == 1:
        return (
            f"set {stage.training}.epochs=2 or more, or budget.max_steps_per_epoch=2 to see only that everything runs"
        )
    share = 0.9 if is_list else 0.8
    fitting = [max(1, min(training.epochs - 1, int(share * training.epochs * epoch / max(at)))) for epoch in at]
    typed = f"set {key}={shown(fitting if is_list else fitting[0])}".replace(", ", ",")
    return typed if config.budget.rescale else f"{typed}, or leave out budget.rescale=false"

"""Everything that can be wrong with a config, found before any data is touched and without importing torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.compose import UsageError, groups
from lt_bench.config import CHOICES, Config, Training
from lt_bench.data.views import VIEWS
from lt_bench.signatures import (
    REQUIRED,
    Parameter,
    TargetError,
    allowed_words,
    canonical,
    constant,
    fits,
    parameters,
)

# Nodes that name a class, with the keys beside its parameters.
TARGETS: dict[str, frozenset[str]] = {
    "method": frozenset({"name", "title"}),
    "backbone": frozenset({"name", "input_pool"}),
    "stage_two": frozenset({"name", "title", "train"}),
    "train.schedule": frozenset(),
    "stage_two.train.schedule": frozenset(),
}

# Smallest allowed values of plain numbers.
AT_LEAST: dict[str, float] = {
    "imbalance.factor": 1,
    "train.epochs": 1,
    "train.batch_size": 1,
    "stage_two.train.epochs": 1,
    "stage_two.train.batch_size": 1,
    "backbone.input_pool": 1,
    "dataset.pool_per_class": 1,
    "dataset.validation_fraction": 0,
    "dataset.validation_per_class": 0,
    "evaluation.batch_size": 1,
    "budget.max_steps_per_epoch": 1,
    "checkpoint.every_epochs": 1,
    "checkpoint.every_steps": 1,
    "launch.parallel_runs": 1,
    "launch.threads_per_run": 1,
    "seed": 0,
    "split_seed": 0,
}


def settle(composed: DictConfig) -> Config:
    """The checked config with every interpolation resolved; raises UsageError with one line per problem."""
    missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
    if missing:
        raise UsageError("\n".join(f"{key} has no value; set it with {key}=VALUE" for key in missing))
    try:
        config = OmegaConf.to_object(composed)
        assert isinstance(config, Config)
        if "train" in config.stage_two:
            typed = OmegaConf.merge(OmegaConf.structured(Training), config.stage_two["train"])
            config.stage_two["train"] = OmegaConf.to_container(typed, resolve=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", "") or "")
        raise UsageError(f"{key}: {str(error).splitlines()[0]}") from error
    problems = [*_wrong_targets(config), *_wrong_values(config)]
    if not problems:
        problems = list(_impossible(config))
    if problems:
        raise UsageError("\n".join(problems))
    return config


def stage_two_training(config: Config) -> Training | None:
    """How the stage-two classifier is trained; None for a closed form."""
    if "train" not in config.stage_two:
        return None
    training = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Training), config.stage_two["train"]))
    assert isinstance(training, Training)
    return training


def node(config: Config, key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value


def _wrong_targets(config: Config) -> Iterator[str]:
    for key, beside in TARGETS.items():
        values = node(config, key)
        if not values:
            if key == "train.schedule":
                yield "train.schedule has no class; set train.schedule._target_=lt_bench.engine.schedules.Cosine"
            continue
        try:
            allowed = parameters(values["_target_"])
        except TargetError as error:
            yield f"{key}.{error}"
            continue
        for name in sorted(set(values) - beside - {"_target_"}):
            if name not in allowed:
                known = ", ".join([*sorted(allowed), *sorted(beside - {"name", "title"})]) or "none"
                yield f"unknown key {key}.{name}: {values['_target_']} takes {known}"
            elif not fits(values[name], allowed[name].annotation):
                yield f"{key}.{name}={values[name]} is of the wrong kind; {_wanted(key, name, allowed[name])}"
            else:
                values[name] = canonical(values[name], allowed[name].annotation)
        for name, parameter in allowed.items():
            if parameter.default is REQUIRED and name not in values:
                yield f"{key}.{name} has no value; set it with {key}.{name}=VALUE"


def _wanted(key: str, name: str, parameter: Parameter) -> str:
    words = allowed_words(parameter.annotation)
    if words:
        return f"{key}.{name}= takes {', '.join(map(str, words))}"
    kind = ast.unparse(parameter.annotation) if parameter.annotation else "a value"
    return f"set {key}.{name}= to {kind}"


def _wrong_values(config: Config) -> Iterator[str]:
    for key, words in CHOICES.items():
        value = node(config, key)
        if value is not None and value not in words:
            yield f"{key}={value}: {key}= takes {', '.join(words)}"
    for key, least in AT_LEAST.items():
        value = node(config, key)
        if value is not None and not value >= least:
            yield f"{key}={value}: it must be at least {least:g}; set {key}={least:g} or more"
    for key in ("train.lr", "stage_two.train.lr", "budget.epoch_scale"):
        value = node(config, key)
        if value is not None and not value > 0:
            yield f"{key}={value}: it must be positive"
    if config.dataset.validation_fraction >= 1:
        yield f"dataset.validation_fraction={config.dataset.validation_fraction}: it must be below 1; try 0.2"
    for view in config.method.get("views") or []:
        if view not in VIEWS:
            yield f"method.views: unknown view {view!r}; method.views= takes a list of {', '.join(VIEWS)}"


def _impossible(config: Config) -> Iterator[str]:
    name, rule = config.method["name"], config.stage_two["name"]
    has_classifier = constant(config.method["_target_"], "provides_classifier", False)
    if constant(config.stage_two["_target_"], "uses_classifier", False) and not has_classifier:
        others = ", ".join(choice for choice in groups()["stage_two"] if choice != rule)
        yield f"stage_two={rule} needs a classifier and method={name} trains none; set stage_two= to one of {others}"
    if config.fidelity == "official" and f"{name}_official" not in groups()["quirks"]:
        with_quirks = ", ".join(choice.removesuffix("_official") for choice in groups()["quirks"])
        yield f"fidelity=official is the same as clean for method={name}; set fidelity=clean (official: {with_quirks})"
    data, wanted = config.dataset, (config.evaluation.split, config.evaluation.select)
    if data.validation_fraction and data.validation_per_class:
        yield "dataset.validation_fraction and dataset.validation_per_class exclude each other; set one of them to 0"
    if not data.validation_fraction and not data.validation_per_class and {"validation", "best_validation"} & {*wanted}:
        yield (
            "a validation part is asked for but there is none; set dataset.validation_per_class=20 (a balanced part of "
            "the images before the tail is cut) or dataset.validation_fraction=0.2 (a part of the long-tailed images)"
        )
    if config.evaluation.select != "last" and rule != "none" and "train" not in config.stage_two:
        yield f"evaluation.select={config.evaluation.select}: stage_two={rule} is not trained; set evaluation.select=last"
    size, pool = config.dataset.image_size, config.backbone.get("input_pool", 1)
    if size % pool or size // pool < 4:
        fitting = ", ".join(str(k) for k in range(1, size // 4 + 1) if size % k == 0)
        yield f"backbone.input_pool={pool} does not fit images of {size} pixels; backbone.input_pool= takes {fitting}"

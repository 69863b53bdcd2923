"""Everything that can be wrong with a config, found before any data is touched and without importing torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config import optimizers
from lt_bench.config.annotations import accepts, coerce
from lt_bench.config.compose import groups, nearest, no_single_value, shown, wrong_kind
from lt_bench.config.schema import Budget, Config, Training, node
from lt_bench.config.signatures import OPAQUE, REQUIRED, Parameter, TargetError, parameters
from lt_bench.errors import UsageError
from lt_bench.preflight.combinations import incompatible
from lt_bench.preflight.ranges import out_of_range

# Nodes that name a class, with what stands in them beside its parameters.
TARGETS: dict[str, Mapping[str, Parameter]] = {
    "method": parameters("lt_bench.config.schema.Named"),
    "method.harmonization": {},
    "backbone": parameters("lt_bench.config.schema.Backbone"),
    "stage_two": {**parameters("lt_bench.config.schema.Named"), "train": Parameter(OPAQUE, None)},
    "train.schedule": {},
    "stage_two.train.schedule": {},
    **{key: {} for key in optimizers.NODES},
}

# Of these, the ones that need not be there.
OPTIONAL = ("method.harmonization",)

# Nodes of stage two that have the keys of stage one's.
TYPED = {"stage_two.train": parameters("lt_bench.config.schema.Training")}


def validate(composed: DictConfig, frozen: bool = False) -> Config:
    """The checked config with every interpolation resolved; raises UsageError with one line per problem.

    ``frozen``: it was settled before, and the files of conf/, which may have changed since, have no say any more.
    """
    missing = sorted(_missing(OmegaConf.to_container(composed, resolve=False)))
    if missing:
        raise UsageError("\n".join(map(_no_value, missing)))
    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise UsageError(f"{error.full_key}: {str(error).splitlines()[0]}; set {error.full_key}=VALUE") from error
    assert isinstance(config, Config)
    always = (_named_optimizers, _misplaced, out_of_range)
    checks = always if frozen else (_useless_training, *always, incompatible)
    for find in checks:
        problems = list(find(config))
        if problems:
            raise UsageError("\n".join(problems))
    if not frozen:
        _name_budget(config)
    if training := stage_two_training(config):
        config.stage_two["train"] = asdict(training)
    return config


def _named_optimizers(config: Config) -> Iterator[str]:
    """Names that no optimiser has; a node that is right is resolved in place."""
    known = optimizers.names()
    for key, training in (("train", vars(config.train)), ("stage_two.train", config.stage_two.get("train"))):
        values = training.setdefault("optimizer", {}) if isinstance(training, dict) else None
        if not isinstance(training, dict) or not isinstance(values, dict):
            continue  # said in its turn
        name, word = values.get("name", "sgd"), f"{key}.optimizer.name"
        if name in known:
            training["optimizer"] = optimizers.resolved(values)
        else:
            yield (
                f"{word}={shown(name)}{nearest(str(name), known)}: {word}= takes {', '.join(known)}; "
                f"any other class as {key}.optimizer._target_=torch.optim.Rprop"
            )


def _name_budget(config: Config) -> None:
    """A budget that differs from the file of its name is "custom", so that no record promises what was not run."""
    if config.budget.name in groups()["budget"]:
        text = (files("lt_bench.conf") / "budget" / f"{config.budget.name}.yaml").read_text(encoding="utf-8")
        file = OmegaConf.merge(OmegaConf.structured(Budget), OmegaConf.select(OmegaConf.create(text), "budget"))
        if asdict(config.budget) != OmegaConf.to_container(file):
            config.budget.name = "custom"


def stage_two_training(config: Config) -> Training | None:
    """How the stage-two classifier is trained; None for a closed form."""
    if "train" not in config.stage_two:
        return None
    training = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Training), config.stage_two["train"]))
    assert isinstance(training, Training)
    return training


def _missing(tree: Any, key: str = "") -> Iterator[str]:
    """Dotted keys whose value is still to be given."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _missing(value, f"{key}.{name}".strip("."))
    elif tree == "???":
        yield key


def _no_value(key: str) -> str:
    return f"{key} has no value; set it with {key}=VALUE"


def _misplaced(config: Config) -> Iterator[str]:
    """Unknown keys, values of the wrong kind and missing ones, in the nodes that the schema leaves open."""
    for key in (*TYPED, *TARGETS):
        values = node(config, key)
        if key.startswith("stage_two.train") and "train" not in config.stage_two:
            continue
        if key in OPTIONAL and values is None:
            continue
        if not isinstance(values, dict):
            yield no_single_value(key)
            return
        try:
            yield from _wrong_node(key, values, TYPED.get(key) or _keys_of_class(key, values.get("_target_")))
        except TargetError as error:
            yield f"{key}.{error}"
    try:
        parameters(config.dataset._target_)
    except TargetError as error:
        yield f"dataset.{error}"


def _useless_training(config: Config) -> Iterator[str]:
    """What to say where training is set up for a stage-two rule whose file has none: a closed form."""
    name = config.stage_two.get("name", "")
    if "train" in config.stage_two and name in groups()["stage_two"]:
        text = (files("lt_bench.conf") / "stage_two" / f"{name}.yaml").read_text(encoding="utf-8")
        if not {"train", "defaults"} & OmegaConf.create(text).keys():  # with defaults: builds on a rule that is trained
            yield f"stage_two={name} trains nothing; leave stage_two.train out"


def _keys_of_class(key: str, target: Any) -> dict[str, Parameter]:
    if not isinstance(target, str):
        raise TargetError(f"_target_ names no class; set it as {key}._target_=module.Class")
    own = parameters(target)
    if key in optimizers.NODES:
        own = {name: parameter for name, parameter in own.items() if name not in optimizers.SUPPLIED}
    return {"_target_": Parameter(OPAQUE, None), **own, **TARGETS[key]}


def _wrong_node(key: str, values: dict[str, Any], keys: Mapping[str, Parameter]) -> Iterator[str]:
    """What is wrong with the keys and values of one node; values that fit are made canonical in place."""
    for name, value in values.items():
        if name not in keys:
            known = ", ".join(sorted(keys.keys() - {"_target_", "name", "title", "order"})) or "no parameters"
            owner = values.get("_target_", key)
            yield f"unknown key {key}.{name}{nearest(name, keys)}; {owner} takes {known}"
        elif not accepts(value, keys[name].annotation):
            yield wrong_kind(f"{key}.{name}", value, keys[name].annotation)
        else:
            values[name] = coerce(value, keys[name].annotation)
    yield from (_no_value(f"{key}.{name}") for name in keys if keys[name].default is REQUIRED and name not in values)

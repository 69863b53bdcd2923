"""Everything that can be wrong with a config, found before any data is touched and without importing torch."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lt_bench.config import optimizers
from lt_bench.config.annotations import accepts, coerce
from lt_bench.config.compose import groups, references, shown, wrong_kind
from lt_bench.config.conf import values_of
from lt_bench.config.keys import (
    CLASS,
    affects_result,
    annotation_of,
    beside,
    class_nodes,
    fields_of,
    find,
    nearest,
    no_single_value,
)
from lt_bench.config.recipes import COMPONENTS, bare
from lt_bench.config.schema import Budget, Config, Named, StageTwo, flat, node, plain
from lt_bench.config.signatures import OPAQUE, REQUIRED, Parameter, TargetError, parameters, takes_more
from lt_bench.config.stages import StageName
from lt_bench.config.trust import foreign_references, untrusted
from lt_bench.errors import UsageError
from lt_bench.preflight.combinations import incompatible, or_other_forms
from lt_bench.preflight.packages import missing_packages
from lt_bench.preflight.ranges import out_of_range
from lt_bench.preflight.sbatch import wrong_requests
from lt_bench.preflight.timm_models import named_in_full
from lt_bench.preflight.trackers import nodes, wrong_trackers

# Parts of a method or a rule that name a class of their own, and need not be there.
OPTIONAL = tuple(f"method.{group}" for group in COMPONENTS)

# Nodes that name a class, with what stands in them beside its parameters.
TARGETS: dict[str, Mapping[str, Parameter]] = {
    **{key: beside(owner) for key, owner in class_nodes().items()},
    **{key: {} for key in OPTIONAL},
}

# What is looked for last: all that single values of the right kind can be wrong in, however they are set.
RANGES = (out_of_range, wrong_requests)
OF_VALUES = (*RANGES, incompatible, missing_packages)


def validate(composed: DictConfig, frozen: bool = False) -> Config:
    """The checked config with every interpolation resolved; raises UsageError with one line per problem.

    ``frozen``: it was validated before, and the files of conf/, which may have changed since, have no say any more.
    """
    if not frozen:
        with references():
            _no_useless_training(composed)
    missing = sorted(_missing(OmegaConf.to_container(composed, resolve=False)))
    if missing:
        raise UsageError("\n".join(map(_no_value, missing)))
    with references():
        config = OmegaConf.to_object(composed)
    assert isinstance(config, Config)
    if problems := list(foreign_references(composed)):
        raise UsageError("\n".join(problems))
    _gather_options(config.stage_two, [str(name) for name in composed.stage_two])
    first = (_wrong_kinds, _named_optimizers, wrong_trackers, _untrusted)
    of_files = (named_in_full, _quirks_of_other_classes)
    checks = (*first, _misplaced, *RANGES) if frozen else (*first, *of_files, _misplaced, *OF_VALUES)
    for check in checks:
        problems = list(check(config))
        if problems:
            raise UsageError("\n".join(problems))
    if not frozen:
        _name_budget(config)
    return config


def _gather_options(rule: StageTwo, names: list[str]) -> None:
    """Keys that the schema does not know are loose attributes after OmegaConf: the parameters of a rule's class."""
    rule.options = {name: vars(rule).pop(name) for name in names if name not in fields_of(StageTwo)}


def _wrong_kinds(config: Config) -> Iterator[str]:
    """Values that a reference brings where the schema has another kind: OmegaConf checks what is typed alone."""
    for key, value in flat(plain(config)).items():
        known = find(key)
        if known is None or key.endswith(f".{CLASS}"):
            continue  # for those that look for the class
        if known.is_node and value is not None:
            yield no_single_value(key)
        elif not known.is_node and not accepts(value, annotation_of(key)):
            yield wrong_kind(key, value, annotation_of(key))


def _named_optimizers(config: Config) -> Iterator[str]:
    """Names that no optimiser has; a node that is right is resolved in place."""
    known = optimizers.names()
    for stage in StageName:
        training = node(config, stage.training)
        if training is None:
            continue
        name, word = training.optimizer.get("name", "sgd"), f"{stage.training}.optimizer.name"
        if name in known:
            training.optimizer = optimizers.resolved(training.optimizer)
        else:
            yield (
                f"{word}={shown(name)}{nearest(str(name), known)}: {word}= takes {', '.join(known)}; "
                f"any other class as {stage.training}.optimizer._target_=torch.optim.Rprop"
            )


def _name_budget(config: Config) -> None:
    """A budget that differs from the file of its name is "custom", so that no record promises what was not run."""
    if config.budget.name in groups()["budget"]:
        values = values_of(f"budget/{config.budget.name}").get("budget")
        file = OmegaConf.merge(OmegaConf.structured(Budget), values or {})
        usual: Any = OmegaConf.to_container(file)
        if any(usual[key] != value for key, value in asdict(config.budget).items() if affects_result(f"budget.{key}")):
            config.budget.name = "custom"


def _missing(tree: Any, key: str = "") -> Iterator[str]:
    """Dotted keys whose value is still to be given."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _missing(value, f"{key}.{name}".strip("."))
    elif tree == "???":
        yield key


def _no_value(key: str) -> str:
    return f"{key} has no value; set it with {key}=VALUE"


def _untrusted(config: Config) -> Iterator[str]:
    """Classes and functions that nobody has asked to run, before anything else is said of them."""
    yield from untrusted(flat(plain(config)), config.trust)


def _quirks_of_other_classes(config: Config) -> Iterator[str]:
    """Keys that the official form of a method sets and that the classes here, those of another recipe, do not take."""
    name = str(config.method.get("name"))
    base, official = bare(config.method), groups()["quirks"]
    if config.fidelity != "official" or f"{base}_official" not in official:
        return
    strange, classes = [], dict[str, None]()
    for key in flat(values_of(f"quirks/{base}_official")):
        place, _, parameter = key.rpartition(".")
        values = node(config, place)
        target = values.get("_target_") if place in TARGETS and isinstance(values, dict) else None
        try:
            if isinstance(target, str) and parameter in values and parameter not in _keys_of_class(place, target):
                strange.append(key)
                classes[target.rpartition(".")[2]] = None
        except TargetError:
            continue  # said with all that is wrong with it
    if strange:
        yield (
            f"fidelity=official: what the authors' code of method={name} does with {', '.join(strange)} is not for "
            f"{', '.join(classes)}, which dataset={config.dataset.name} has here; set fidelity=clean"
            f"{or_other_forms(base)}"
        )


def _misplaced(config: Config) -> Iterator[str]:
    """Unknown keys, values of the wrong kind and missing ones, in the nodes that the schema leaves open."""
    for key, values in [*((key, node(config, key)) for key in TARGETS), *nodes(config).items()]:
        if values is None and key in TARGETS:
            continue  # a part that need not be there
        try:
            if isinstance(values, StageTwo):  # its other keys are the schema's
                keys = _keys_of_class(key, values._target_)
                yield from _wrong_values(key, values.options, keys, values._target_, fields_of(StageTwo))
            elif isinstance(values, dict):
                keys = _keys_of_class(key, values.get("_target_"))
                yield from _wrong_values(key, values, keys, values["_target_"])
            else:
                yield no_single_value(key, _usual_keys(config, key))
                return
        except TargetError as error:
            yield f"{key}.{error}"
    try:
        parameters(config.dataset._target_)
    except TargetError as error:
        yield f"dataset.{error}"


def _no_useless_training(composed: DictConfig) -> None:
    """Refuse training that is set up for a stage-two rule whose file has none: a closed form."""
    name = OmegaConf.select(composed, "stage_two.name")
    if composed.stage_two.train is not None and name in groups()["stage_two"]:
        if (
            not {"train", "defaults"} & values_of(f"stage_two/{name}").keys()
        ):  # with defaults: builds on a rule that is trained
            raise UsageError(f"stage_two={name} trains nothing; leave stage_two.train out")


def _usual_keys(config: Config, key: str) -> list[str]:
    """What the file of a method sets in a node of it, as ``method.experts``; empty where the file has no such node."""
    above, _, name = key.rpartition(".")
    base = bare(config.method)
    values = values_of(f"method/{base}").get("method", {}).get(name) if base in groups()["method"] else None
    return [word for word in values if word != CLASS] if above == "method" and isinstance(values, dict) else []


def _keys_of_class(key: str, target: Any) -> dict[str, Parameter]:
    if not isinstance(target, str):
        raise TargetError(f"_target_ names no class; set it as {key}._target_=module.Class")
    own = parameters(target)
    if key in optimizers.NODES:
        own = {name: parameter for name, parameter in own.items() if name not in optimizers.SUPPLIED}
    return {"_target_": Parameter(OPAQUE, None), **own, **TARGETS.get(key, {})}


def _wrong_values(
    key: str, values: dict[str, Any], keys: Mapping[str, Parameter], target: str, given: Container[str] = ()
) -> Iterator[str]:
    """What is wrong with the keys and values of one node; values that fit are made canonical in place.

    ``given`` are keys that have their values elsewhere.
    """
    for name, value in values.items():
        if name not in keys:
            if takes_more(target):
                continue
            known = ", ".join(sorted(keys.keys() - {CLASS, *fields_of(Named)})) or "no parameters"
            yield f"unknown key {key}.{name}{nearest(name, keys)}; {target} takes {known}"
        elif not accepts(value, keys[name].annotation):
            yield wrong_kind(f"{key}.{name}", value, keys[name].annotation)
        else:
            values[name] = coerce(value, keys[name].annotation)
    required = [name for name in keys if keys[name].default is REQUIRED and name not in given]
    yield from (_no_value(f"{key}.{name}") for name in required if name not in values)

"""From the overrides on the command line to a composed config, with errors that name the allowed values."""

from __future__ import annotations

import ast
import copy
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config import epochs, optimizers, trust
from lt_bench.config.annotations import wanted
from lt_bench.config.conf import is_file, is_own, names_in, text_of
from lt_bench.config.keys import annotation_of, find, is_parameter, nearest
from lt_bench.config.layers import LayerError, choices_in_files, default_choices, layers, merged, renew
from lt_bench.config.own_files import OWN_CHOICES, cached
from lt_bench.config.recipes import (
    COMPONENTS,
    LISTS,
    NONE,
    parts_of,
    recipe_files,
    recipe_names,
    short_for,
    spelled_out,
    taken_from,
)
from lt_bench.config.schema import flat
from lt_bench.config.signatures import TargetError, parameters
from lt_bench.config.sweeps import impossible
from lt_bench.errors import UsageError

PICKING = ("method", "dataset", "variant", *COMPONENTS, "recipe")  # groups by whose choices a recipe is picked
PICKS = rf"^\s*-\s+override\s+/(?:{'|'.join(PICKING)})\b"  # a line of a file's defaults list that chooses one of them
NAMED = ("method", "stage_two", "backbone", "dataset")  # groups whose choice stands in records by its name


@cached
def groups() -> dict[str, list[str]]:
    """Config groups and their choices, both sorted."""
    folders = sorted(folder.name for folder in files("lt_bench.conf").iterdir() if folder.is_dir())
    found = {folder: names_in(folder) for folder in folders if not folder.startswith("__")}
    return {**found, "recipe": recipe_names(found["method"], found["dataset"])}


def about(group: str, choice: str) -> str:
    """The comment at the head of a choice's file: what it is and where it comes from."""
    if group == "recipe" and choice in taken_from():
        recipe, why = taken_from()[choice]
        return f"{why} ({recipe})"
    if group == "recipe" and choice not in names_in("recipe"):  # that of a method, and that of its component
        return "; ".join(about(part, name) for part, name in parts_of(choice).items() if name != NONE)
    lines = _text(group, choice).splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comments = [line[1:].strip() for line in lines[:end]]
    return " ".join(comment for comment in comments if not comment.startswith("@package"))


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The config of one run from Hydra overrides; raises UsageError with one line that says what to type."""
    parsed = parse(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise UsageError(f"{override.input_line} names several runs; add -m for a sweep")
    with references():
        return _composed(parsed)


@contextmanager
def references() -> Iterator[None]:
    """A block in which a reference that leads nowhere, or back to itself, is a UsageError that names its key."""
    try:
        yield
    except OmegaConfBaseException as error:
        key, said = error.full_key, str(error).partition("\n")[0]
        raise UsageError(f"{key}: {said}; set {key}=VALUE" if key else f"{said}; type the value itself") from error


def _composed(parsed: Sequence[Override]) -> DictConfig:
    set_here = [override for override in parsed if _sets(override)]
    typed = [leaf for one in set_here for leaf in leaves(one.key_or_group, one.value())]
    for key, _ in typed:  # before the files are read, so that a mistyped key is answered at once
        if not is_parameter(key):
            annotation_of(key)
    chosen = choices(parsed)
    config = copy.deepcopy(_merged(chosen))
    recipes = epochs.lengths(config)
    for override in parsed:
        group = override.key_or_group
        if group in COMPONENTS and override.value() == NONE and config.method.get(group):
            config.method[group] = None  # that of the method itself, such as GCL's mixing
        if override.key_or_group == "optimizer":  # replaces values that other files give, so it comes after them all
            _choose_optimizer(config, "train.optimizer", "group", override.value())
    gone = set[str]()
    for key, value in typed:
        if key in optimizers.CHOOSING:  # before the values of what is chosen, wherever they are typed
            place, _, by = key.rpartition(".")
            _choose_optimizer(config, place, by, value)
        elif key.endswith("._target_"):  # likewise
            gone |= renew(config, key.removesuffix("._target_"), value)
    for override in parsed:
        if override.is_delete() and override.key_or_group not in gone:
            _take_away(config, override.key_or_group)
        elif _sets(override):
            for key, value in leaves(override.key_or_group, override.value()):
                if key not in optimizers.CHOOSING:
                    _set(config, key, value)
    epochs.stretch(config, recipes, (key for key, _ in typed))
    _trust(config, _merged(chosen))
    _follow_classes(config, _merged(chosen), [key for key, _ in typed])
    _check_components(config, dict(word.split("=", 1) for word in chosen))
    return config


def choices(parsed: Iterable[Override]) -> tuple[str, ...]:
    """The choices among overrides, as group=choice, with what they stand for: method and component, recipes."""
    typed = {override.key_or_group: _choice(override) for override in parsed if override.key_or_group in groups()}
    typed.pop("optimizer", None)  # replaces values, see compose
    spelled = spelled_out({**_picked_by_files(typed), **typed})
    everything = {**default_choices(), **spelled}

    def of_files() -> bool:
        found = (layer for layer in layers((f"dataset={everything['dataset']}",)) if layer.name.startswith("dataset/"))
        return any(layer.values["dataset"].get("train_list") for layer in found)

    found = {**spelled, **recipe_files(everything, groups()["recipe"], of_files)}
    for group in COMPONENTS:
        if found.get(f"{group}/recipe", NONE) != NONE and everything.get(group, NONE) == NONE:
            others = ", ".join(f"{group}={name}" for name in names_in(group) if name != NONE)
            raise UsageError(f"recipe={typed['recipe']} is for a method with {group}; add {others}")
    return tuple(f"{group}={choice}" for group, choice in found.items())


def _picked_by_files(typed: Mapping[str, str]) -> dict[str, str]:
    """What files choose of that by which recipes are picked, as ``override /method: ce`` does.

    One's own files are read for it, and of the package those that have such a line.
    """
    if not any(_may_pick(f"{group}/{choice}") for group, choice in typed.items()):
        return {}
    known = choices_in_files(tuple(f"{group}={choice}" for group, choice in typed.items()))
    usual = {**default_choices(), **typed, "recipe": f"{known['method']}_{known['dataset']}"}
    return {group: known[group] for group in PICKING if group in known and known[group] != usual.get(group)}


def _may_pick(name: str) -> bool:
    """Whether a file may choose what recipes are picked by; reading its line is quicker than Hydra's list."""
    return is_own(name) or is_file(name) and re.search(PICKS, text_of(name), re.MULTILINE) is not None


def parse(overrides: Iterable[str]) -> list[Override]:
    """Overrides as Hydra reads them; raises UsageError for a malformed one or an unknown choice of a group.

    ``+key=value`` and ``++key=value`` mean the same as ``key=value``; ``~key`` takes a parameter of a class away.
    """
    return list(map(_parse_one, overrides))


@cached
def _parse_one(word: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(word)
        if not override.key_or_group:
            raise ValueError("no key")
    except (HydraException, ValueError) as error:
        raise UsageError(
            f"cannot read {word!r}: write key=value, for example seed=1; a value with spaces or any of =,:()[]{{}} "
            """goes in two pairs of quotes, for example output_dir='"a,b"'"""
        ) from error
    if wrong := impossible(override.value()):
        raise UsageError(f"{word}: {wrong}")
    _check(override)
    return override


def shown(value: Any) -> str:
    """A value as it is typed: null, true, 0.1, [1, 2]."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _choice(override: Override) -> str:
    """A choice of a group as Hydra has it; each of several once."""
    several = dict.fromkeys(_picked(override))
    return f"[{','.join(several)}]" if isinstance(override.value(), list) else str(override.value())


def _picked(override: Override) -> list[str]:
    """The choices of a group that an override names: several for groups that take a list."""
    value = override.value()
    return list(map(shown, value if override.key_or_group in LISTS and isinstance(value, list) else [value]))


def _check(override: Override) -> None:
    """Refuse what Hydra would take but nobody here can mean."""
    key, word, choices = override.key_or_group, override.input_line or "", groups()
    if override.is_hydra_override():
        raise UsageError(f"{word}: Hydra's own settings are not used; {OWN_CHOICES}")
    if override.package is not None:
        raise UsageError(f"{word}: a group has one place; write {key}=CHOICE")
    if override.is_delete() and not is_parameter(key):
        raise UsageError(f"{word}: only a parameter of a class can be taken away; write {key}=VALUE")
    if key in LISTS and override.is_sweep_override():
        named = word.partition("=")[2] if isinstance(override.value(), ChoiceSweep) and "(" not in word else "A,B"
        raise UsageError(f"{word}: a run has several at once, and none is a run of its own; write {key}=[{named}]")
    for value in _picked(override) if key in choices and not override.is_sweep_override() else ():
        if value not in choices[key]:
            near = nearest(value, choices[key])
            raise UsageError(
                f"unknown {key} {value!r}{near}; {key}= takes {', '.join(choices[key])}{_also_taken(key, value)}"
            )


def _also_taken(key: str, value: str) -> str:
    """What is no choice of a group, and can be had in another way."""
    if key in LISTS:
        return f", and several as [{','.join(name for name in groups()[key] if name != NONE)}]"
    if key == "imbalance":
        number = re.fullmatch(r"(?:if)?(\d+(?:\.\d+)?)", value)
        return f"; any other factor as imbalance.factor={number[1] if number else 'NUMBER'}"
    if key == "dataset" and os.path.isdir(value):
        return f"; a folder of your own images as dataset=image_folder dataset.root={value}"
    return ""


def _merged(choices: tuple[str, ...]) -> DictConfig:
    """The config of some choices of groups, never changed; raises UsageError for a file that does not fit."""
    try:
        return merged(choices)
    except LayerError as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
        said = " ".join(f"{error} {cause or ''}".split())
        if key := getattr(cause, "full_key", None):
            try:
                annotation_of(key)  # where a file has an unknown key, this names those that there are
            except UsageError as unknown:
                said = f"{said.partition(':')[0]}: {unknown}"
        raise UsageError(said) from error


def _trust(config: DictConfig, files_alone: DictConfig) -> None:
    """Add the files in the current folder that the config names to what is trusted; refuse words that are none."""
    if not isinstance(config.trust, ListConfig):  # but what a reference brings
        raise UsageError(wrong_kind("trust", config.trust, annotation_of("trust")))
    problems = list(trust.wrong_names(config.trust))
    if files_alone.trust:
        problems.append("trust: what is trusted is typed, and stands in no file; take it out of conf/")
    if problems:
        raise UsageError("\n".join(problems))
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    config.trust = list(dict.fromkeys([*config.trust, *trust.lying_here(flat(tree))]))  # type: ignore[arg-type]


def _follow_classes(config: DictConfig, files_alone: DictConfig, typed: Collection[str]) -> None:
    """Let name and title of a class that was typed be the class's own, where they were not typed too."""
    for group in NAMED:
        target = config[group].get("_target_")
        if f"{group}._target_" in typed and target != files_alone[group].get("_target_"):
            own = str(target).rpartition(".")[2]
            for key, value in {"name": own, "title": own, "order": None}.items():
                if key in config[group] and f"{group}.{key}" not in typed:
                    config[group][key] = value


def target_of(group: str, choice: str) -> str:
    """The class that a choice of a group names, in its own file or in one that it builds on."""
    choice = short_for(choice).get(group, choice)
    indent = " {4}" if group in COMPONENTS else "(?:  )?"  # below method: method.harmonization
    found = re.search(rf"^{indent}_target_: (\S+)", _text(group, choice), re.MULTILINE)
    return found[1] if found else str(_merged((f"{group}={choice}",))[group].get("_target_"))


@cached
def titles(group: str) -> dict[str, str]:
    """The titles of a group's choices, with the choices."""
    found = {name: re.search(r"^(?:  )?title: (.+?)(?: +#.*)?$", _text(group, name), re.M) for name in groups()[group]}
    return {read[1].strip("\"'"): name for name, read in found.items() if read}


def component_of(method: str, group: str) -> str | None:
    """The class of the component that a method has by itself, without a choice of the component's group."""
    values = _merged((f"method={method}",)).method.get(group)
    return str(values["_target_"]) if values else None


def _check_components(config: DictConfig, picked: Mapping[str, str]) -> None:
    """Refuse a component that the method's class does not take."""
    for group in COMPONENTS:
        choice, method = picked.get(group, NONE), picked.get("method", default_choices()["method"])
        if choice != NONE and component_of(method, group) == target_of(group, choice):
            raise UsageError(
                f"{group}={choice}: method={method} has that by itself, and would be trained twice under two names; "
                f"leave it out, and set {group}={NONE} to train without"
            )
        if choice != NONE and not _takes(config.method.get("_target_"), group):
            known = (name for name in groups()["method"] if not short_for(name))
            takers = ", ".join(name for name in known if _takes(target_of("method", name), group))
            raise UsageError(
                f"{group}={choice}: method={method} takes no {group}, which is for {COMPONENTS[group]}; set "
                f"{group}={NONE}, or one of the methods that take it: {takers}"
            )


def _takes(target: Any, parameter: str) -> bool:
    try:
        return not isinstance(target, str) or parameter in parameters(target)
    except TargetError:
        return True  # the preflight says what is wrong with it


def _text(group: str, choice: str) -> str:
    return text_of(f"{group}/{choice}")


def _sets(override: Override) -> bool:
    """Whether an override gives values to keys, and neither chooses a file nor takes a key away."""
    return not override.is_delete() and override.key_or_group not in groups()


def _choose_optimizer(config: DictConfig, key: str, by: str, choice: Any) -> None:
    """Let a node be what ``optimizers.after_choice`` makes of it."""
    node = OmegaConf.select(config, key)
    present = OmegaConf.to_container(node) if isinstance(node, DictConfig) else {}
    assert isinstance(present, dict)
    values = optimizers.after_choice({str(name): value for name, value in present.items()}, by, choice)
    with open_dict(config):
        _begin(config, key)
        OmegaConf.update(config, key, values, merge=False, force_add=True)


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The single values of a dictionary on the command line, under their dotted keys."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(f"{key}.{name}", inner)
    else:
        yield key, value


def _set(config: DictConfig, key: str, value: Any) -> None:
    annotation = None if is_parameter(key) else annotation_of(key)
    if (above := _list_above(config, key)) is not None:
        raise UsageError(f"{key}={shown(value)}: {above} is a list, which is set as a whole: {above}=[...]")
    try:
        with open_dict(config):
            _begin(config, key)
            OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        raise UsageError(wrong_kind(key, value, annotation)) from error


def _list_above(config: DictConfig, key: str) -> str | None:
    """The key of a list that is there above a key; None where there is none."""
    names = key.split(".")
    for depth in range(1, len(names)):
        above = ".".join(names[:depth])
        if isinstance(OmegaConf.select(config, above, throw_on_resolution_failure=False), ListConfig):
            return above
    return None


def _begin(config: DictConfig, key: str) -> None:
    """Begin the optional groups that a key is in, such as the training of a stage-two rule that had none."""
    group, _, _ = key.rpartition(".")
    if group:
        _begin(config, group)
        known = find(group)
        if known and known.below and OmegaConf.select(config, group) is None:
            OmegaConf.update(config, group, known.below, merge=False)


def _take_away(config: DictConfig, key: str) -> None:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent)
    if not isinstance(node, DictConfig) or name not in node.keys():
        names = map(str, node) if isinstance(node, DictConfig) else ()
        raise UsageError(f"~{key}: there is no {key}{nearest(name, names)}")
    with open_dict(node):
        del node[name]


def wrong_kind(key: str, value: Any, annotation: ast.expr | None) -> str:
    """What to say about a value that does not fit the annotation of its key."""
    return f"{key}={shown(value)} is of the wrong kind; {key}= takes {wanted(annotation)}"

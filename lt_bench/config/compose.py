"""From the words on the command line to a composed config, with errors that name the allowed values."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config.annotations import wanted
from lt_bench.config.keys import annotation_of, find, is_parameter, nearest
from lt_bench.config.schema import register
from lt_bench.errors import UsageError

# Data sets of files for which a method has no recipe take the one it has for this data set, also of 224 pixels.
RECIPE_OF_LARGE_IMAGES = "imagenet_lt"
OWN_CHOICES = (
    "choices are the files in the folders of conf/; set single keys for what no file has, "
    "for example method._target_=my_module.MyMethod"
)


@cache
def groups() -> dict[str, list[str]]:
    """Config groups and their choices, both sorted."""
    folders = [folder for folder in files("lt_bench.conf").iterdir() if folder.is_dir()]
    return {
        folder.name: sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".yaml"))
        for folder in sorted(folders, key=lambda folder: folder.name)
        if not folder.name.startswith("__")
    }


def about(group: str, choice: str) -> str:
    """The comment at the head of a choice's file: what it is and where it comes from."""
    lines = (files("lt_bench.conf") / group / f"{choice}.yaml").read_text(encoding="utf-8").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comments = [line[1:].strip() for line in lines[:end]]
    return " ".join(comment for comment in comments if not comment.startswith("@package"))


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The config of one run from Hydra overrides; raises UsageError with one line that says what to type."""
    parsed = parse(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise UsageError(f"{override.input_line} names several runs; add -m for a sweep")
    config = copy.deepcopy(_chosen(choices(parsed)))
    for override in parsed:
        if override.is_delete():
            _take_away(config, override.key_or_group)
        elif override.key_or_group not in groups():
            for key, value in leaves(override.key_or_group, override.value()):
                _set(config, key, value)
    return config


def choices(parsed: Iterable[Override]) -> tuple[str, ...]:
    """The choices of groups among overrides; where a method has no recipe for large images, with a related one."""
    chosen = {override.key_or_group: override.value() for override in parsed if override.key_or_group in groups()}
    words = tuple(f"{group}={choice}" for group, choice in chosen.items())
    config = _chosen(words)
    if config.dataset.train_list is None or "recipe" in chosen:
        return words
    own, related = (f"{config.method.name}_{name}" for name in (config.dataset.name, RECIPE_OF_LARGE_IMAGES))
    known = groups()["recipe"]
    return (*words, f"recipe={related}") if own not in known and related in known else words


def parse(overrides: Iterable[str]) -> list[Override]:
    """Overrides as Hydra reads them; raises UsageError for a malformed word or an unknown choice of a group.

    ``+key=value`` and ``++key=value`` mean the same as ``key=value``; ``~key`` takes a parameter of a class away.
    """
    return list(map(_parse_word, overrides))


@cache
def _parse_word(word: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(word)
        if not override.key_or_group:
            raise ValueError("no key")
        if isinstance(value := override.value(), RangeSweep) and value.step == 0:
            raise ValueError("a step of nothing")
    except (HydraException, ValueError) as error:
        raise UsageError(
            f"cannot read {word!r}: write key=value, for example seed=1; a value with spaces or any of =,:()[]{{}} "
            """goes in two pairs of quotes, for example output_dir='"a,b"'"""
        ) from error
    _check(override)
    return override


def shown(value: Any) -> str:
    """A value as it is typed: null, true, 0.1, [1, 2]."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _check(override: Override) -> None:
    """Refuse what Hydra would take but nobody here can mean."""
    key, word, choices = override.key_or_group, override.input_line, groups()
    if override.is_hydra_override():
        raise UsageError(f"{word}: Hydra's own settings are not used; {OWN_CHOICES}")
    if override.package is not None:
        raise UsageError(f"{word}: a group has one place; write {key}=CHOICE")
    if override.is_delete() and not is_parameter(key):
        raise UsageError(f"{word}: only a parameter of a class can be taken away; write {key}=VALUE")
    if key in choices and not override.is_sweep_override():
        value = shown(override.value())
        if value not in choices[key]:
            near = nearest(value, choices[key])
            raise UsageError(f"unknown {key} {value!r}{near}; {key}= takes {', '.join(choices[key])}")


@cache
def _chosen(choices: tuple[str, ...]) -> DictConfig:
    """The config of some choices of groups, without single values; never changed, because it is kept."""
    register()
    try:
        with initialize_config_module("lt_bench.conf", version_base="1.3"):
            return hydra_compose("config", overrides=list(choices))
    except (HydraException, OmegaConfBaseException) as error:
        said = " ".join(f"{error} {error.__cause__ or ''}".split())
        if key := getattr(error.__cause__, "full_key", None):
            try:
                annotation_of(key)  # where a file has an unknown key, this names those that there are
            except UsageError as unknown:
                said = f"{said.partition(':')[0]}: {unknown}"
        raise UsageError(said) from error


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The single values of a dictionary on the command line, under their dotted keys."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(f"{key}.{name}", inner)
    else:
        yield key, value


def _set(config: DictConfig, key: str, value: Any) -> None:
    annotation = None if is_parameter(key) else annotation_of(key)
    try:
        with open_dict(config):
            _begin(config, key)
            OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        raise UsageError(wrong_kind(key, value, annotation)) from error


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

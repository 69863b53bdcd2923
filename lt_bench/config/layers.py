"""The files of conf/ that stand for some choices, merged in order of power."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, ClassVar, NamedTuple

import yaml  # type: ignore[import-untyped]
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config import epochs, optimizers
from lt_bench.config.conf import check_all, is_file, text_of, values_of
from lt_bench.config.heads import check_heads
from lt_bench.config.own_files import cached, own_folders
from lt_bench.config.recipes import LISTS
from lt_bench.config.schema import register
from lt_bench.config.signatures import TargetError, parameters
from lt_bench.config.stages import StageName
from lt_bench.config.yaml_text import TooManyValues, check_size
from lt_bench.errors import UsageError

# In a file, what the files before it gave the same key: a component adds to the name of its method.
FORMER = "${former:}"
# A group whose choices have epochs of their own: what the recipe counts in epochs moves with them.
OTHER_LENGTH = "finetune/"
RECIPES = "recipe/"


class Layer(NamedTuple):
    """One file of conf/, as group/choice, and what it sets."""

    name: str
    values: Any


class LayerError(UsageError):
    """A file that does not fit those before it."""


@cached
def merged(choices: tuple[str, ...]) -> DictConfig:
    """The config of some choices of groups (group=choice), without single values; never changed, because it is kept.

    Raises LayerError, with OmegaConf's error as its cause, for a file that does not fit the schema.
    """
    config = OmegaConf.create()
    for layer in layers(choices):
        try:
            values = _with_former(config, layer.values) if isinstance(layer.values, dict) else layer.values
            if layer.name.startswith(RECIPES):
                values = _of_chosen_rule(config, values)
            for key, target in _targets(values):
                renew(config, key, target)
            for key in optimizers.NODES:
                _choose_optimizer(config, key, values)
            length = epochs.lengths(config)[StageName.ONE] if layer.name.startswith(OTHER_LENGTH) else None
            config.merge_with(values)
            if length is not None and epochs.lengths(config)[StageName.ONE] != length:
                config.train.recipe_epochs = length
        except OmegaConfBaseException as error:
            check_heads([layer.name], default_choices())
            raise LayerError(f"In '{layer.name}'") from error
    OmegaConf.set_struct(config, True)
    return config


@cached
def layers(choices: tuple[str, ...]) -> tuple[Layer, ...]:
    """The schema and the files of some choices, the weakest first; raises LayerError for files that do not fit."""
    found = _defaults_list(choices).defaults
    ours = [entry for entry in found if not str(entry.config_path).startswith("hydra/")]
    return tuple(Layer(str(entry.config_path), _values(str(entry.config_path), _place(entry))) for entry in ours)


def _place(entry: Any) -> str:
    """The node that the values of a file belong to; a choice of which a run has several has one of its own name."""
    group, _, choice = str(entry.config_path).rpartition("/")
    return f"{group}.{choice}" if group in LISTS else entry.package or ""


def choices_in_files(choices: tuple[str, ...]) -> dict[str, str]:
    """The choice of every group where some are typed, as Hydra reads the files that these name.

    Recipes are named as they are picked by default. Raises LayerError for files that do not fit.
    """
    known = _defaults_list(choices).overrides.known_choices
    return {group: choice for group, choice in known.items() if choice is not None}


@cached
def _defaults_list(choices: tuple[str, ...]) -> Any:
    """What Hydra makes of some choices; raises LayerError for files that do not fit."""
    register()
    _check_sizes(choices)
    if own_folders():
        check_heads(_named(choices), default_choices())
    try:
        with initialize_config_module("lt_bench.conf", version_base="1.3"):
            loader: Any = GlobalHydra.instance().config_loader()
            if not own_folders():  # whose files may change
                loader.repository = _ReadOnce(loader.repository)
            return loader.compute_defaults_list("config", [*choices, _search_path()], RunMode.RUN)
    except Exception as error:  # of Hydra, or whatever it lets pass of readers of YAML: then a file is no YAML
        check_all()
        check_heads(_named(choices), default_choices())
        raise LayerError(" ".join(str(error).split())) from error


def _search_path() -> str:
    """The word that lets Hydra find the user's own files too."""
    places = (f"file://{folder}".replace("'", "\\'") for folder in own_folders())
    quoted = ",".join(f"'{place}'" for place in places)
    return f"hydra.searchpath=[{quoted}]"


class _ReadOnce:
    """Hydra's files of conf/, each read once in a process: by itself it reads them for every list of choices."""

    read: ClassVar[dict[str, Any]] = {}

    def __init__(self, files: Any) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> _ReadOnce:
        return self

    def load_config(self, config_path: str) -> Any:
        """The file, whose content nobody changes; what no file has that name is looked for again."""
        found = self.read.get(config_path) or self._files.load_config(config_path=config_path)
        if found is not None:
            self.read[config_path] = found
        return found


def _named(choices: Iterable[str]) -> Iterator[str]:
    """The files that some choices (group=choice, or a list of them) name."""
    for group, chosen in (word.split("=", 1) for word in choices):
        yield from (f"{group}/{choice}" for choice in chosen.strip("[]").split(","))


def _check_sizes(choices: Iterable[str]) -> None:
    for name in _named(choices):
        try:
            if is_file(name):
                check_size(text_of(name))
        except TooManyValues as error:
            raise LayerError(f"In '{name}': {error}") from None
        except yaml.YAMLError:
            values_of(name)
            raise


@cache
def default_choices() -> dict[str, str]:
    """The choice of every group that has one for all runs, as conf/config.yaml lists them."""
    found = dict(re.findall(r"^  - (\w+): (\w+)", text_of("config"), re.MULTILINE))
    for group in ("method", "dataset"):
        if group not in found:
            raise LayerError(f"conf/config.yaml: its defaults name no {group}; write - {group}: NAME")
    return found


def _choose_optimizer(config: DictConfig, key: str, values: Any) -> None:
    """Where a file names another optimiser, it starts from that one's values, as on the command line."""
    node = OmegaConf.select(config, key)
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    if isinstance(values, dict) and isinstance(node, DictConfig) and node:
        for by in ("_target_", "name"):
            if by in values:
                present: Any = OmegaConf.to_container(node)
                chosen = optimizers.after_choice(present, by, values[by])
                with open_dict(config):
                    OmegaConf.update(config, key, chosen, merge=False, force_add=True)
                return


def renew(config: DictConfig, key: str, target: Any) -> set[str]:
    """Prepare the node at ``key`` for another ``_target_``: what only its former class takes goes; returns these keys.

    What both classes take stays, as a method stays what its base is, and a schedule follows the epochs of its stage.
    A class that cannot be found changes nothing; the preflight says so.
    """
    node = OmegaConf.select(config, key)
    former = node.get("_target_") if isinstance(node, DictConfig) and key not in optimizers.NODES else None
    if not isinstance(former, str) or not isinstance(target, str) or former == target:
        return set()
    of_schema = getattr(OmegaConf.get_type(node), "__dataclass_fields__", {}).keys()
    try:
        gone = ((parameters(former).keys() - parameters(target).keys()) & node.keys()) - of_schema
    except TargetError:
        return set()
    with open_dict(node):
        for name in gone:
            del node[name]
    return {f"{key}.{name}" for name in gone}


def _of_chosen_rule(config: DictConfig, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a recipe less those for a stage-two rule, which they name, that is not the one of this run."""
    rule = values.get("stage_two", {}).get("name", config.stage_two.name)
    return values if rule == config.stage_two.name else {key: one for key, one in values.items() if key != "stage_two"}


@cached
def _values(name: str, package: str) -> Any:
    """What a file sets, under the package it is meant for; the schema as it is."""
    if not is_file(name):
        node = ConfigStore.instance().load(f"{name}.yaml").node
        return node if OmegaConf.get_type(node) is not dict else OmegaConf.to_container(node)
    values = values_of(name)
    values.pop("defaults", None)
    for part in reversed(package.split(".") if package and values else []):
        values = {part: values}
    return values


def _targets(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """The nodes in a tree that name a class, by dotted key."""
    found = []
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            key = f"{prefix}{name}"
            found += [(key, value["_target_"])] if "_target_" in value else []
            found += _targets(value, f"{key}.")
    return found


def _with_former(config: DictConfig, values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values with what stands in the config so far in place of every ``${former:}``."""
    ready = copy.copy(values)
    for name, value in values.items():
        if isinstance(value, dict):
            ready[name] = _with_former(config, value, f"{prefix}{name}.")
        elif isinstance(value, str) and FORMER in value:
            ready[name] = value.replace(FORMER, str(OmegaConf.select(config, f"{prefix}{name}")))
    return ready

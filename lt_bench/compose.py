"""From the words on the command line to a composed config, with errors that name the allowed values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config import register

# Nodes whose keys are parameters of a class; the class says which there are, so any key may be set.
OPEN_NODES = ("method.", "stage_two.", "backbone.", "train.schedule.", "stage_two.train.schedule.")


class UsageError(ValueError):
    """A wrong command line or config; the message says what to type."""


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
    comments = [line[1:].strip() for line in lines[:2] if line.startswith("#")]
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The config of one run from Hydra overrides; raises UsageError with one line that says what to type."""
    parsed = parse(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise UsageError(f"{override.input_line} names several runs; add -m for a sweep")
    register()
    words = [opened(override.input_line or "") for override in parsed]
    try:
        with initialize_config_module("lt_bench.conf", version_base="1.3"):
            return hydra_compose("config", overrides=words)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(_explain(error, parsed)) from error


def parse(overrides: Iterable[str]) -> list[Override]:
    """Overrides as Hydra reads them; raises UsageError for a malformed word or an unknown choice of a group."""
    choices = groups()
    parsed = []
    for word in overrides:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise UsageError(f"cannot read {word!r}: write key=value, for example seed=1") from error
        name = override.key_or_group
        if name in choices and not override.is_sweep_override() and not override.is_delete():
            value = override.value()
            if str(value) not in choices[name] and not isinstance(value, (dict, list)):
                raise UsageError(f"unknown {name} {str(value)!r}{_nearest(str(value), choices[name])}; "
                                 f"{name}= takes {', '.join(choices[name])}")
        parsed.append(override)
    return parsed


def opened(word: str) -> str:
    """An override in the form that Hydra takes for parameters of a class that no file names: ``++method.beta=1``."""
    return f"++{word}" if word.startswith(OPEN_NODES) else word


def _explain(error: Exception, parsed: list[Override]) -> str:
    """One line for a refused override: an unknown key with its neighbours, or a value of the wrong type."""
    base = compose([o.input_line or "" for o in parsed if o.key_or_group in groups()]) if parsed else None
    for override in parsed:
        key = override.key_or_group
        if base is None or key in groups() or override.is_delete() or key.startswith("hydra"):
            continue
        if not (override.input_line or "").startswith("+") and not _has(base, key):
            return _unknown(key, base)
        try:
            OmegaConf.update(base, key, override.value())
        except OmegaConfBaseException as wrong:
            return f"{key}={override.value()!s}: {str(wrong).splitlines()[0]}"
    return " ".join(line.strip() for line in f"{error} {error.__cause__ or ''}".splitlines() if line.strip())


def _unknown(key: str, base: DictConfig) -> str:
    parent, _, name = key.rpartition(".")
    while parent and not _has(base, parent):
        parent, _, name = parent.rpartition(".")
    node: Any = OmegaConf.select(base, parent) if parent else base
    if not isinstance(node, DictConfig):
        return f"unknown key {key!r}: {parent} is a plain value; set it as {parent}=VALUE"
    names = [str(key) for key in node]
    where = f"{parent}." if parent else ""
    near = _nearest(name, names)
    return f"unknown key {key!r}{near}; keys {f'of {parent}' if parent else 'there are'}: {', '.join(names)} " \
           f"(set one as {where}KEY=VALUE)"


def _has(config: DictConfig, key: str) -> bool:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node.keys():
            return False
        node = node._get_node(part)
    return True


def _nearest(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]}?)" if close else ""

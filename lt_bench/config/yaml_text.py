"""YAML that anybody may have written: plain values, and nothing that a few lines blow up to gigabytes."""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_MAYBE_ALIAS = re.compile(r"(?:^|[\s\[{,:-])\*\S", re.MULTILINE)


def parse_yaml(text: str) -> Any:
    """The values in a YAML text, references as they stand; ValueError where it is none, or repeats a part by name.

    Repetitions (``&a``, ``*a``) of repetitions make a text of ten lines too large for any memory.
    """
    try:
        refuse_aliases(text)
        return OmegaConf.to_container(OmegaConf.create(text))
    except (yaml.YAMLError, OmegaConfBaseException, RecursionError) as error:
        raise ValueError(f"no YAML ({str(error).splitlines()[0]})") from error


def refuse_aliases(text: str) -> None:
    """Raise ValueError for a YAML text that repeats a part of it by name."""
    if _MAYBE_ALIAS.search(text) and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise ValueError("it repeats a part by name (*NAME); write it out")

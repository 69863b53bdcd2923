"""Shell completion: Hydra's own, on our groups and keys, for the command lt-bench."""

from __future__ import annotations

import os
import re
import sys

from lt_bench.command import DONE
from lt_bench.errors import UsageError


def complete(arguments: list[str]) -> int:
    """Install shell completion, or print completions for the shell; raises UsageError for other flags."""
    from lt_bench.config.compose import groups
    from lt_bench.config.schema import register

    asked = re.fullmatch(r"(-sc|--shell-completion) ((un)?install|(query))=(bash|zsh|fish)", " ".join(arguments))
    if not asked or (asked[4] and "COMP_LINE" not in os.environ):
        raise UsageError("completion is installed with --shell-completion install=bash (or zsh, fish)")
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig

    line = os.environ.get("COMP_LINE", "")  # Hydra imports packages that its own settings name: a search path
    os.environ["COMP_LINE"] = " ".join(word for word in line.split(" ") if not re.match(r"[~+\"']*hydra\b", word))
    register()
    for name in groups()["recipe"]:  # Hydra lists files, and some recipes are lines of a table
        ConfigStore.instance().store(group="recipe", name=name, node={})
    sys.argv = ["lt-bench", *arguments]

    @hydra.main(version_base="1.3", config_path="pkg://lt_bench.conf", config_name="config")
    def not_called(config: DictConfig) -> None:
        """Not called: with these flags Hydra prints completions and returns."""

    not_called()
    return DONE

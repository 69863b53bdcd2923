"""Shell completion: Hydra's own, on our commands, groups and keys, for lt-bench."""

from __future__ import annotations

import os
import re
import sys

from lt_bench.cli.commands import COMMANDS, is_command
from lt_bench.command import DONE
from lt_bench.config.own_files import own_files
from lt_bench.errors import UsageError

CONFIG_DIR = re.compile(r" (?:--config-dir|-cd)[= ](\S+) ")


def complete(arguments: list[str]) -> int:
    """Install shell completion, or print completions for the shell; raises UsageError for other flags."""
    asked = re.fullmatch(r"(-sc|--shell-completion) ((un)?install|(query))=(bash|zsh|fish)", " ".join(arguments))
    if not asked or (asked[4] and "COMP_LINE" not in os.environ):
        raise UsageError("completion is installed with --shell-completion install=bash (or zsh, fish)")
    folder = None
    if asked[4]:
        line = os.environ["COMP_LINE"]
        print("\n".join(_commands(line)))
        settings = _settings(line)
        if settings is None:
            return DONE
        os.environ["COMP_LINE"] = settings
        folder = next((found[1] for found in CONFIG_DIR.finditer(line) if os.path.isdir(found[1])), None)
    with own_files(folder):
        return _by_hydra(arguments)


def _by_hydra(arguments: list[str]) -> int:
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig

    from lt_bench.config.compose import groups
    from lt_bench.config.conf import is_own
    from lt_bench.config.schema import register

    register()
    own = [(group, name) for group, names in groups().items() for name in names if is_own(f"{group}/{name}")]
    for group, name in own + [("recipe", name) for name in groups()["recipe"]]:
        ConfigStore.instance().store(group=group, name=name, node={})  # Hydra lists the files of conf/ by itself
    sys.argv = ["lt-bench", *arguments]

    @hydra.main(version_base="1.3", config_path="pkg://lt_bench.conf", config_name="config")
    def not_called(config: DictConfig) -> None:
        """Not called: with these flags Hydra prints completions and returns."""

    not_called()
    return DONE


def _words(line: str) -> list[str]:
    """The words after the command's name, of which the last is being typed."""
    line = CONFIG_DIR.sub(" ", line)
    return [*line.split(), *[""] * line.endswith(" ")][1:]


def _commands(line: str) -> list[str]:
    """The commands that the first word may become."""
    words = _words(line)
    return [name for name in COMMANDS if len(words) == 1 and name.startswith(words[0])]


def _settings(line: str) -> str | None:
    """The line with its settings and options alone, for Hydra to complete; None after a command that takes none.

    Hydra imports packages that its own settings name: a search path.
    """
    words = _words(line)
    command = COMMANDS.get(words[0]) if len(words) > 1 else None
    if command and not command.takes_settings:
        return None
    kept = [word for word in words[:-1] if not is_command(word)] + words[-1:]
    return " ".join(["lt-bench", *(word for word in kept if not re.match(r"[~+\"']*hydra\b", word))])

"""The commands of ``lt-bench``: one table, and the module that a first word stands for."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from lt_bench.command import exit_status
from lt_bench.errors import UsageError


class Command(NamedTuple):
    """A module with ``main(words) -> int``, what it does in a line, and whether it takes the settings of a run."""

    module: str
    about: str
    takes_settings: bool = False


COMMANDS = {
    "run": Command("lt_bench.cli.main", "one run, or a sweep with -m; what settings without a command are, too", True),
    "launch": Command("lt_bench.launch.__main__", "plan, submit, watch, retry and cancel sweeps", True),
    "data": Command("lt_bench.data.__main__", "check a data set, pack it, or look at what a method sees of it", True),
    "report": Command("lt_bench.report.__main__", "tables of finished runs, and metrics from their predictions"),
    "figures": Command("lt_bench.figures.__main__", "figures of finished runs"),
    "predict": Command("lt_bench.predict.__main__", "the classes of new images, by a finished run"),
    "export": Command("lt_bench.export.__main__", "the model of a finished run as files that other programs load"),
    "new": Command("lt_bench.cli.new", "write a method of your own to start from: module, settings and tests"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first word names, or ``run`` where it is a setting or an option; the exit status.

    A module is imported only when its command is called.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    name = words.pop(0) if words and is_command(words[0]) else "run"
    if name not in COMMANDS:
        return exit_status(lambda: _refuse(name))
    status: int = import_module(COMMANDS[name].module).main(words)
    return status


def is_command(word: str) -> bool:
    """Whether a first word is meant as a command: neither a setting (key=value, ~key) nor an option."""
    return "=" not in word and re.match(r"\w", word) is not None


def _refuse(word: str) -> int:
    from lt_bench.config.keys import nearest

    raise UsageError(
        f"cannot read {word!r}: write key=value, for example seed=1, or first one of the commands"
        f"{nearest(word, COMMANDS)} {', '.join(COMMANDS)}; see python -m lt_bench --help"
    )

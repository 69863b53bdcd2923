"""The page of the command line: what every command prints for ``--help``."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from unittest.mock import patch

from lt_bench.cli.commands import COMMANDS, main

from .markdown import block, page

WITHIN = {"report": ("eval", "compare", "page")}  # commands with commands of their own, which have their own help
WIDTH = "100"


def command_line_page() -> str:
    """The help of every command, as ``lt-bench`` prints it in a terminal of 100 columns."""
    return page(
        "# The command line",
        "What `lt-bench COMMAND --help` prints; `python -m lt_bench COMMAND` is the same command. "
        "`lt-bench --help KEY` explains a key, and [all keys](settings.md) have a page.",
        *(part for words in _commands() for part in (f"## lt-bench {' '.join(words)}", block(help_of(words), "text"))),
    )


def _commands() -> Iterator[list[str]]:
    for name in COMMANDS:
        yield [name]
        yield from ([name, inner] for inner in WITHIN.get(name, ()))


def help_of(words: list[str]) -> str:
    """What a command prints for ``--help``, the same for every version of Python."""
    out = io.StringIO()
    with (
        patch.dict(os.environ, COLUMNS=WIDTH),
        patch.object(sys, "argv", ["lt-bench", *words]),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),  # how argparse ends
    ):
        main([*words, "--help"])
    return re.sub(r"(-\w+) ([A-Z]+), (--[\w-]+ \2)", r"\1, \3", out.getvalue())

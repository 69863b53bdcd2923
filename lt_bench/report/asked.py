"""The metrics that a command line asks for, those of one's own modules among them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lt_bench.config.trust import import_named
from lt_bench.evaluation.metrics import scalars


def metric_names(asked: Sequence[str], parser: argparse.ArgumentParser, flag: str = "--metric") -> list[str]:
    """The names of metrics that are asked for, each once; MODULE.NAME imports the module, whose metrics enter it.

    Wrong ones end the command with status 2, and a line that begins with the ``flag`` that asks for them.
    """
    for one in asked:
        module = one.rpartition(".")[0]
        try:
            if module and not all(map(str.isidentifier, module.split("."))):
                raise ImportError(f"{module!r} is no module")
            if module:
                import_named(module)
        except ImportError as error:
            parser.error(f"{flag} {one}: {error}")
    names = [*dict.fromkeys(one.rpartition(".")[2] for one in asked)]
    for name in names:
        if name not in scalars():
            parser.error(f"{flag}: no metric {name!r}; expected one of: {', '.join(scalars())}")
    return names

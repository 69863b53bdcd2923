"""The metrics that a command line asks for, those of one's own modules among them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lt_bench.config.trust import import_named
from lt_bench.evaluation.metrics import scalars
from lt_bench.evaluation.named import AT, metric_of


def metric_names(asked: Sequence[str], parser: argparse.ArgumentParser, flag: str = "--metric") -> list[str]:
    """The names of metrics that are asked for, each once; MODULE.NAME imports the module, whose metrics enter it.

    NAME@SET is a metric of a set of logits that has a name, such as top1@expert0.
    Wrong ones end the command with status 2, and a line that begins with the ``flag`` that asks for them.
    """
    words = [one.partition(AT) for one in asked]
    for one, (name, *_) in zip(asked, words, strict=True):
        module = name.rpartition(".")[0]
        try:
            if module and not all(map(str.isidentifier, module.split("."))):
                raise ImportError(f"{module!r} is no module")
            if module:
                import_named(module)
        except ImportError as error:
            parser.error(f"{flag} {one}: {error}")
    names = [*dict.fromkeys("".join((name.rpartition(".")[2], *of)) for name, *of in words)]
    for name in names:
        try:
            metric_of(name)
        except KeyError:
            known = [one for one in scalars() if AT not in one]
            parser.error(f"{flag}: no metric {name!r}; expected one of: {', '.join(known)}, or one of them {AT}SET")
    return names

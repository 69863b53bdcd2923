"""The kinds of figures: every module of ``lt_bench.figures.kinds`` is one, under its own name."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from lt_bench.figures import kinds as package
from lt_bench.figures.studies import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawing(NamedTuple):
    """One figure before it is drawn: what is added to the name of its files, and its data."""

    name: str
    data: Any


class Kind(NamedTuple):
    """What a module of ``kinds`` has.

    ``about``: the first line of its docstring, what the figure shows; ``collect`` gives the figures that a study
    allows, or ``collect_all`` those of all studies together: a module has one of them, which raises NotPossible where
    there are none; ``draw`` draws what it gave, a function of the data alone.
    """

    about: str
    draw: Callable[[Figure, Any], None]
    collect: Callable[[Study], Iterator[Drawing]] | None
    collect_all: Callable[[Sequence[Study]], Iterator[Drawing]] | None


def kinds() -> dict[str, Kind]:
    """The kinds of figures by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: _kind(import_module(f"{package.__name__}.{name}")) for name in names}


def _kind(module: Any) -> Kind:
    about = (module.__doc__ or "").partition("\n")[0]
    return Kind(about, module.draw, getattr(module, "collect", None), getattr(module, "collect_all", None))

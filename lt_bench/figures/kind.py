"""The kinds of figures: every module of ``lt_bench.figures.kinds`` is one, under its own name."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from lt_bench.figures import kinds as package
from lt_bench.figures.studies import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawing(NamedTuple):
    """One figure before it is drawn: what is added to the name of its files, and its data."""

    name: str
    data: Any


class Kind(Protocol):
    """What a module of ``kinds`` has; the first line of its docstring says what the figure shows."""

    __doc__: str | None

    def collect(self, study: Study) -> Iterator[Drawing]:
        """The figures that a study allows; raises NotPossible where it allows none."""

    def draw(self, figure: Figure, data: Any) -> None:
        """Draw what ``collect`` gave: a function of the data alone."""


def kinds() -> dict[str, Kind]:
    """The kinds of figures by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: cast(Kind, import_module(f"{package.__name__}.{name}")) for name in names}

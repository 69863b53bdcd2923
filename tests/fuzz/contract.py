"""What a reader that is fuzzed consists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis.strategies import SearchStrategy


class Reader(NamedTuple):
    """Inputs, what reads one of them, and the errors by which alone it may refuse one."""

    inputs: SearchStrategy[Any]
    read: Callable[[Any], object]
    allowed: tuple[type[Exception], ...]

"""What a field of the schema says about itself: what it may be, whether it affects the result, what it means."""

from __future__ import annotations

import math
import sys
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, field
from typing import Any

MOST_SEED = 10**18  # more than 64 bits do not fit into the tables of a report
MOST_EPOCH_SCALE = 1e6  # of a recipe, more of which nobody lives to see
MOST_NUMBER = sys.float_info.max  # whole numbers in Python may be larger, and then fit no computation
MOST_COUNT = 10**9  # of epochs, steps, images: more are never counted, and of two the product fits into 64 bits
MOST_JITTER, MOST_OPERATIONS = 100, 100  # of colours, beyond which all are black or white; of RandAugment on one image
_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """What is said of a field beside its type and default.

    Numbers, and every number in a list, are from ``least`` to ``most`` and greater than ``above``, whole ones up to
    ``MOST_COUNT`` where no ``most`` is set; words are one of
    ``choices``; a list has ``length`` items. ``beside`` is for a node that names a class and holds its parameters: the
    dataclass of the keys that stand beside them. ``of_nodes`` is for one that holds any number of such nodes by name.
    """

    help: str
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    choices: tuple[str, ...] = ()
    length: int | None = None
    affects_result: bool = True
    beside: type | None = None
    of_nodes: bool = False

    def refuses(self, value: Any) -> str:
        """What a setting takes, in words, where a value is none of it; else nothing."""
        numbers = [x for x in (value if isinstance(value, list) else [value]) if isinstance(x, (int, float))]
        uncountable = any(isinstance(x, int) and x > MOST_COUNT for x in numbers) and self.most == math.inf
        most = MOST_COUNT if uncountable and self.help else self.most  # parameters of classes have no help
        if self.choices and value not in self.choices:
            return ", ".join(self.choices)
        if self.length is not None and value is not None and len(value) != self.length:
            return f"a list of {self.length} numbers"
        if not all(abs(x) <= MOST_NUMBER and self.least <= x <= most for x in numbers):
            bounds = f" from {self.least:g}" * (self.least > -math.inf) + f" to {most:g}" * (most < math.inf)
            return f"{'' if bounds else 'finite '}numbers{bounds}"
        return f"numbers above {self.above:g}" if not all(x > self.above for x in numbers) else ""


def setting(
    default: Any = NO_DEFAULT,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    choices: tuple[str, ...] = (),
    length: int | None = None,
    affects_result: bool = True,
    beside: type | None = None,
    of_nodes: bool = False,
    help: str,
) -> Any:
    """A dataclass field with its default (a list, a dictionary or a dataclass is made anew for every object)."""
    metadata = {_KEY: Setting(help, least, most, above, choices, length, affects_result, beside, of_nodes)}
    if isinstance(default, (list, dict)):
        kind = type(default)
        return field(default_factory=lambda: kind(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def setting_of(field: Field[Any]) -> Setting:
    """What a field says about itself; nothing where it was not made by ``setting``."""
    found = field.metadata.get(_KEY, Setting(""))
    assert isinstance(found, Setting)
    return found


def default_of(field: Field[Any]) -> Any:
    """A field's default, made anew where it is made by a function; ``dataclasses.MISSING`` where there is none."""
    return field.default if field.default_factory is NO_DEFAULT else field.default_factory()

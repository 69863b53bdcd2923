"""The values that a search may choose from, in the words of a sweep: ``a,b``, ``range``, ``interval`` and ``log``."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from lt_bench.config.compose import groups
from lt_bench.config.keys import affects_result
from lt_bench.config.sweeps import impossible
from lt_bench.errors import UsageError

FORMS = "a,b,c, range(1,10), interval(0,1), int(interval(1,10)) or log(0.001,0.3)"
# the data of all trials are the same, and so is what they are judged by
FIXED = re.compile(
    r"(seed|split_seed|search|experiment|sweep|launch|imbalance|evaluation)(\..*)?"
    r"|dataset|dataset\.(name|_target_|num_classes|\w+_(list|fraction|per_class|dir)|\w*group_rule|pool\w*|on_bad_image)"
)


class Choice(NamedTuple):
    """One of some values, as they are typed."""

    values: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, ...]:
        """What is validated before a search begins: every value."""
        return self.values

    def __str__(self) -> str:
        return f"one of {', '.join(self.values)}"


class Numbers(NamedTuple):
    """A number from ``low`` to ``high``, both included, in steps where there is one, evenly in its logarithm or not."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole."""
        return isinstance(self.low, int)

    @property
    def ends(self) -> tuple[str, ...]:
        """What is validated before a search begins: the smallest and the largest number."""
        return self.typed(self.low), self.typed(self.high)

    def __str__(self) -> str:
        steps = f", in steps of {self.step}" if self.step not in (None, 1) else ""
        return f"{' to '.join(self.ends)}{steps}{', evenly in its logarithm' * self.log}"

    def typed(self, value: float) -> str:
        """A number as it is typed: four digits are enough for a setting, and can be read."""
        return str(value) if self.whole else repr(min(max(float(f"{value:.4g}"), self.low), self.high))


Axis = Choice | Numbers


def space(texts: Mapping[str, str]) -> dict[str, Axis]:
    """The axes of a search by their keys; raises UsageError for what cannot be searched, with the words there are."""
    if not texts:
        raise UsageError("a search needs a space: add for example 'search.space.train.lr=log(0.001,0.3)'")
    return {key: _axis(key, text) for key, text in sorted(texts.items())}


def _axis(key: str, text: str) -> Axis:
    word = f"search.space.{key}={text}"
    if FIXED.fullmatch(key) or not (affects_result(key) or key in groups()):
        raise UsageError(f"{word}: {key} is the same for all trials; a search is over settings of the training")
    override = _parsed(key, text, word)
    value = override.value()
    if wrong := impossible(value):
        raise UsageError(f"{word}: {wrong}")
    if isinstance(value, Glob) or getattr(value, "shuffle", False):
        raise UsageError(f"{word}: the values of a search are the same each time it is typed; give {FORMS}")
    if isinstance(value, IntervalSweep):
        return _numbers(word, value)
    if override.is_range_sweep() or override.is_choice_sweep():
        texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
        if not texts:
            raise UsageError(f"{word} has no value; write search.space.{key}= as {FORMS}")
        if isinstance(value, RangeSweep) and isinstance(value.step, int) and isinstance(value.start, int):
            first, last = sorted((int(texts[0]), int(texts[-1])))
            return Numbers(first, last, step=abs(value.step))
        return Choice(texts)
    raise UsageError(f"{word} is one value: type {key}={text} instead, or give {FORMS}")


def _parsed(key: str, text: str, word: str) -> Override:
    functions = create_functions()
    functions.register(name="log", func=_log)
    try:
        return OverridesParser(functions).parse_override(f"{key}={text}")
    except HydraException as error:
        raise UsageError(f"cannot read {word!r}: write it as {FORMS}") from error


def _log(start: int | float, end: int | float) -> IntervalSweep:
    """What Hydra calls for ``log``; it reads the annotations, which are types here and no texts."""
    return IntervalSweep(start=float(start), end=float(end), tags={"log"})


def _numbers(word: str, value: IntervalSweep) -> Numbers:
    low, high, log = value.start, value.end, "log" in value.tags
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{word}: the first bound is below the second one, and both are finite")
    if log and low <= 0:
        raise UsageError(f"{word}: a logarithm needs bounds above 0; write interval({low:g},{high:g})")
    return Numbers(low, high, log)

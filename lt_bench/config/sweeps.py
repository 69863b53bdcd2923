"""Values as they are typed: what of Hydra's grammar is a list of values, how long a list and a number may be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, RangeSweep, Sweep

from lt_bench.config.settings import MOST_NUMBER

MOST_RUNS = 100_000  # of one sweep; more are a mistyped range, and would be planned for hours


def impossible(value: Any) -> str | None:
    """What is wrong with a value, or with a sweep as a list of values; None where nothing is."""
    if any(isinstance(one, int) and abs(one) > MOST_NUMBER for one in (value, *_inside(value))):
        return f"a number of this size is none that can be computed with; numbers are below {MOST_NUMBER:.2g}"
    if any(isinstance(one, (Sweep, Glob)) for one in _inside(value)):
        return "a range, a choice or a glob stands alone after the equals sign; write all values, as in seed=0,1,2"
    if not isinstance(value, RangeSweep):
        return None
    bounds = (value.start, value.stop, value.step)
    if not all(isinstance(one, int) or (isinstance(one, float) and math.isfinite(one)) for one in bounds):
        return "the bounds and the step of a range are finite numbers; write range(START,STOP,STEP)"
    if value.step == 0:
        return "the step of a range is not 0; write range(START,STOP,STEP)"
    start, stop, step = (Fraction(one) for one in bounds if one is not None)
    if (stop - start) / step > MOST_RUNS:
        return f"a range of more than {MOST_RUNS:,} values; write a shorter one"
    return None


def _inside(value: Any) -> Iterator[Any]:
    """Everything that stands inside a value, at any depth."""
    parts: list[Any] = []
    if isinstance(value, ChoiceSweep):
        parts = value.list
    elif isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    for part in parts:
        yield part
        yield from _inside(part)

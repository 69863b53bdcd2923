"""The metrics of a record: which values they take, and what a record of another schema says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin

from lt_bench.evaluation.metrics import COUNT, FRACTION, METRICS, Metric, group_std
from lt_bench.evaluation.shots import GROUPS

BETWEEN: dict[str, tuple[type, int, int]] = {COUNT: (int, 0, 2**63 - 1), FRACTION: (float, 0, 1)}  # of a unit's values


class Metrics(dict[str, Any]):
    """Metrics by name; one that a record does not have reads as None, which also says that a metric has no value."""

    def __missing__(self, name: str) -> None:
        return None


def check_metrics(metrics: Mapping[str, Any]) -> None:
    """ValueError naming the key if these are not values of the metrics that are known here; others may be anything."""
    known = {name: METRICS[name] for name in metrics if name in METRICS}
    for name, metric in known.items():
        if not _accepts(metric, metrics[name]):
            raise ValueError(f"key 'metrics.{name}': expected {_expected(metric)}, found {metrics[name]!r}")
    lists = [name for name, metric in known.items() if metric.per_class]
    if len({len(metrics[name]) for name in lists}) > 1:
        raise ValueError(f"key 'metrics': expected lists of one length, one entry a class, under {', '.join(lists)}")


def readable(metrics: Mapping[str, Any], newer: bool) -> dict[str, Any]:
    """The metrics of a record of another schema, with the deviation over groups, which follows from older ones.

    Of a ``newer`` one, values that have become something else are left out.
    """
    found = dict(metrics)
    if newer:
        found = {name: one for name, one in found.items() if name not in METRICS or _accepts(METRICS[name], one)}
    missing = "group_std" not in found and found.keys() >= set(GROUPS)
    if missing and all(_accepts(METRICS[group], found[group]) for group in GROUPS):
        found["group_std"] = group_std(*(found[group] for group in GROUPS))
    return found


def _accepts(metric: Metric, value: Any) -> bool:
    """Whether a value, or every one of a list by class, is of the metric's unit; a list is looked at as a whole."""
    if type(value) is float and metric.unit == FRACTION and not metric.per_class and 0 <= value <= 1:
        return True  # as nearly always
    values = value if metric.per_class else [value]
    if not isinstance(values, list):
        return False
    numbers = [one for one in values if one is not None] if None in values else values
    if len(numbers) < len(values) and not metric.optional:
        return False
    if metric.unit not in BETWEEN:
        return all(fits(one, float) and math.isfinite(one) for one in numbers)
    kind, least, most = BETWEEN[metric.unit]
    if not all(one is kind or (issubclass(one, kinds(kind)) and one is not bool) for one in {*map(type, numbers)}):
        return False
    return not numbers or (least <= min(numbers) and max(numbers) <= most and all(map(math.isfinite, numbers)))


def _expected(metric: Metric) -> str:
    word = {FRACTION: "fraction in [0, 1]", COUNT: "count of images"}.get(metric.unit, "finite number")
    return f"{'a list with per class ' if metric.per_class else ''}a {word}{' or null' if metric.optional else ''}"


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has the type of an annotation; an int may stand for a float, a bool for nothing else.

    Whole numbers of more than 64 bits fit nothing: no table could hold them.
    """
    return is_one_of(value, kinds(hint))


def is_one_of(value: Any, types: tuple[type, ...]) -> bool:
    """As ``fits``, of the ``kinds`` of an annotation."""
    if type(value) in types and type(value) not in (int, bool):
        return True  # as nearly always
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return False
    return isinstance(value, types) and not isinstance(value, bool)


@cache
def kinds(hint: Any) -> tuple[type, ...]:
    """The types whose values fit an annotation."""
    found = {get_origin(option) or option for option in (get_args(hint) if isinstance(hint, UnionType) else (hint,))}
    return tuple(found | ({int} if float in found else set()))

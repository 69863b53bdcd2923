"""Of many cases that are alike the fast set has a sample; the others are marked as slow, so that the whole set has all.

Where each case takes long and pairs of values hide no fault of their own, the whole set has a sample as well.

The order in which a sample is taken comes from the names of the cases: it is the same in every process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from lt_bench.config.compose import groups
from lt_bench.preflight.task import CLASSIFICATION, task_of, task_of_method

# one method for each way in which methods differ: what they keep between steps and what else they train
FAMILIES = {
    "supervised": "ldam_drw",
    "two branches": "bcl",
    "clusters": "sbcl",
    "queue": "gpaco",
    "distributions": "proco",
    "self-supervised": "focal",
    "self-supervised and harmonised": "boosted_cl_gh",
}


def _sample(cases: Iterable[tuple[Any, ...]], seen: set[tuple[int, Any]]) -> set[tuple[Any, ...]]:
    """As many cases as are needed to have each value that is not among those seen; these are added to them."""
    kept = set()
    for case in sorted(cases, key=lambda case: zlib.crc32(repr(case).encode())):
        if not (values := set(enumerate(case))) <= seen:
            kept.add(case)
            seen |= values
    return kept


def _parameters(cases: Iterable[tuple[Any, ...]], kept: set[tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(*case, marks=() if case in kept else pytest.mark.slow) for case in cases]


def one_of_each_family(methods: Iterable[str]) -> list[Any]:
    """Parameters of a test: every method, those outside FAMILIES marked as slow."""
    return _parameters([(name,) for name in methods], {(name,) for name in FAMILIES.values()})


def each_value_once(cases: Iterable[tuple[Any, ...]], of_families: bool = False, in_all: bool = False) -> list[Any]:
    """Parameters of a test: every case, unmarked only as many as are needed to have each value of each parameter.

    ``of_families``: cases of methods, of which those outside FAMILIES are marked as slow. ``in_all``: the whole set too
    has only as many cases as are needed to have each value.
    """
    given, seen = [*cases], set[tuple[int, Any]]()
    kept = _sample((case for case in given if not of_families or case[0] in FAMILIES.values()), seen)
    others = _sample(given, seen) if in_all else {*given}
    return _parameters((case for case in given if case in kept | others), kept)


def methods_for(task: str = CLASSIFICATION) -> list[str]:
    """The methods in conf/ that are for a task."""
    return [name for name in groups()["method"] if task_of_method(name) == task]


def of_one_task() -> list[tuple[str, str]]:
    """The methods and data sets in conf/ that go together."""
    return [(method, data) for data in groups()["dataset"] for method in methods_for(task_of(data))]

"""Of many cases that are alike the fast set has a sample; the others are marked as slow, so that the whole set has all.

The order in which a sample is taken comes from the names of the cases: it is the same in every process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import pytest

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


def _parameters(cases: Iterable[tuple[Any, ...]], kept: set[tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(*case, marks=() if case in kept else pytest.mark.slow) for case in cases]


def one_of_each_family(methods: Iterable[str]) -> list[Any]:
    """Parameters of a test: every method, those outside FAMILIES marked as slow."""
    return _parameters([(name,) for name in methods], {(name,) for name in FAMILIES.values()})


def each_value_once(cases: Iterable[tuple[Any, ...]], of_families: bool = False) -> list[Any]:
    """Parameters of a test: every case, unmarked only as many as are needed to have each value of each parameter.

    ``of_families``: cases of methods, of which those outside FAMILIES are marked as slow.
    """
    given = [*cases]
    kept, seen = set(), set()
    among = [case for case in given if not of_families or case[0] in FAMILIES.values()]
    for case in sorted(among, key=lambda case: zlib.crc32(repr(case).encode())):
        if not (values := set(enumerate(case))) <= seen:
            kept.add(case)
            seen |= values
    return _parameters(given, kept)

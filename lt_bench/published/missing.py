"""Cells of the suite for which nothing published was found: somebody has looked."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from lt_bench.errors import UsageError
from lt_bench.published.entries import words
from lt_bench.published.tables import place, table

EVERYTHING, GROUPS_ALONE = "everything", "groups"


class Missing(NamedTuple):
    """A method on a data set at an imbalance, with a rule or, where that is None, with any: what was not found.

    ``missing`` is "everything", or "groups": an overall accuracy is known, many, medium and few are not.
    """

    method: str
    stage_two: str | None
    dataset: str
    imbalance: str
    missing: str


@cache
def missing() -> tuple[Missing, ...]:
    """All cells of missing.yaml; raises UsageError naming the row that is none."""
    return tuple(cell for row in table("missing", ("missing",))["missing"] for cell in _cells(row))


def _cells(row: Any) -> list[Missing]:
    required = {"method", "dataset", "imbalance", "missing"}
    if not isinstance(row, dict) or not required <= row.keys() <= {*required, "stage_two"}:
        raise UsageError(f"{place('missing')}: {row}: expected {', '.join(sorted(required))}, and stage_two or none")
    allowed: dict[str, tuple[str, ...]] = {**words(), "missing": (EVERYTHING, GROUPS_ALONE)}
    factors = row["imbalance"] if isinstance(row["imbalance"], list) else [row["imbalance"]]
    one_by_one = [item for item in row.items() if item[0] != "imbalance"]
    for name, value in [*one_by_one, *(("imbalance", factor) for factor in factors)]:
        if value not in allowed[name]:
            raise UsageError(f"{place('missing')}: {row}: {name} takes {', '.join(allowed[name])}")
    return [Missing(row["method"], row.get("stage_two"), row["dataset"], one, row["missing"]) for one in factors]

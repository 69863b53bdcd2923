"""What each recipe and experiment is meant to reproduce: the table conf/reproduces.yaml."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from lt_bench.errors import UsageError
from lt_bench.published.entries import Published, by_id
from lt_bench.published.tables import parse

WHERE = "conf/reproduces.yaml"
KINDS = ("recipe", "experiment")


@cache
def reproduced(kind: str) -> dict[str, tuple[Published, ...]]:
    """The published results that files of a group, "recipe" or "experiment", are meant to reproduce, by name.

    A name without any has none that is known. Raises UsageError for an id that no published result has.
    """
    text = (files("lt_bench.conf") / "reproduces.yaml").read_text(encoding="utf-8")
    return _looked_up(kind, parse(text, WHERE, KINDS)[kind])


def _looked_up(kind: str, listed: dict[str, Any]) -> dict[str, tuple[Published, ...]]:
    for name, ids in listed.items():
        for one in ids if isinstance(ids, list) else [ids]:
            if not isinstance(one, str) or one not in by_id():
                raise UsageError(f"{WHERE}: {kind} {name}: no published result has the id {one!r}; write a list of ids")
    return {name: tuple(by_id()[one] for one in ids) for name, ids in listed.items()}

"""What is known of the field's lists of images, so that a list is recognised without being shipped."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from lt_bench.errors import UsageError
from lt_bench.published.tables import place, table


class PublishedList(NamedTuple):
    """A list as it is published: its data set and part, git blob id, and where it was read: folder, images, SHA-256."""

    dataset: str
    part: str
    blob: str
    prefix: str | None
    images: int | None
    normalised_sha256: str | None


@cache
def published_lists(dataset: str) -> list[PublishedList]:
    """The published lists of a data set that are known."""
    return [one for one in _lists() if one.dataset == dataset]


@cache
def prefixes() -> set[str]:
    """The folders that paths in published lists begin with; none, too."""
    return {one.prefix for one in _lists() if one.prefix} | {""}


def counted() -> list[str]:
    """The data sets that have no lists: what is published of them are counts, which conf/dataset has."""
    found: list[str] = _table()["counted"]
    return found


@cache
def group_sizes(dataset: str, imbalance: str) -> tuple[int, int, int] | None:
    """How many classes of a data set are many, medium and few by the rule count_100_20; None where it is not known."""
    for one in _table()["group_sizes"]:
        if (one["dataset"], one["imbalance"]) == (dataset, imbalance):
            return one["many"], one["medium"], one["few"]
    return None


@cache
def _lists() -> list[PublishedList]:
    for one in _table()["lists"]:
        if unknown := one.keys() - {*PublishedList._fields, "paths_seen"}:
            raise UsageError(f"{place('lists')}: {one['dataset']} {one['part']}: unknown key {', '.join(unknown)}")
    return [PublishedList(*(one.get(name) for name in PublishedList._fields)) for one in _table()["lists"]]


@cache
def _table() -> dict[str, Any]:
    return table("lists", ("counted", "lists", "group_sizes"))

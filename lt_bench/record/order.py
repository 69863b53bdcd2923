"""What tables call a method or a stage-two rule, and where its rows stand: title and order in its yaml."""

from __future__ import annotations

from math import inf
from typing import Any

from omegaconf import OmegaConf

from lt_bench.config.conf import is_file, names_in, values_of
from lt_bench.config.own_files import cached

VARIANT = "+"  # a method with a component stands right after the method: SimCLR, SimCLR+GH


def order_of(group: str, title: str, recorded: int | None) -> float:
    """The place of a method or stage-two rule: what conf/ says of its title, or its record; infinite if neither does.

    conf/ comes first, so that all rows agree, whenever they were recorded. A method with a component that has no order
    of its own has that of the method.
    """
    known = _orders(group)
    places = (known.get(title), recorded, known.get(title.partition(VARIANT)[0]))
    return next((float(place) for place in places if place is not None), inf)


def title_of(group: str, name: str) -> str:
    """What tables call a choice of a group; its name where conf/ has no title for it."""
    title = _told(group, name).get("title") if is_file(f"{group}/{name}") else None
    return str(title or name)


@cached
def _orders(group: str) -> dict[str, int]:
    """Title -> order of every choice of a group that has both."""
    told = [_told(group, name) for name in names_in(group)]
    return {one["title"]: one["order"] for one in told if one.keys() == {"title", "order"}}


@cached
def _told(group: str, name: str) -> dict[str, Any]:
    """The title and the order that the file of a choice has."""
    tree = OmegaConf.create(values_of(f"{group}/{name}"))
    prefix = f"{group}." if group in tree else ""  # a method's file also sets how it is trained
    found = {
        key: OmegaConf.select(tree, f"{prefix}{key}", throw_on_resolution_failure=False) for key in ("title", "order")
    }
    return {key: value for key, value in found.items() if value is not None}

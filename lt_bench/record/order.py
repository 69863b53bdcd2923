"""Where a row stands in tables: by the order in the yaml of its method and of its stage-two rule."""

from __future__ import annotations

from math import inf

from omegaconf import OmegaConf

from lt_bench.config.conf import names_in, values_of
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


@cached
def _orders(group: str) -> dict[str, int]:
    """Title -> order of every choice of a group that has both."""
    found: dict[str, int] = {}
    for name in names_in(group):
        tree = OmegaConf.create(values_of(f"{group}/{name}"))
        prefix = f"{group}." if group in tree else ""  # a method's file also sets how it is trained
        title, order = (
            OmegaConf.select(tree, f"{prefix}{key}", throw_on_resolution_failure=False) for key in ("title", "order")
        )
        if title is not None and order is not None:
            found[title] = order
    return found

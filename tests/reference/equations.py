"""The equations of a method: what its class, a component or a stage-two rule minimises, from equations.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def known() -> dict[str, Any]:
    """What equations.yaml holds: under ``equations`` formulas and symbols of classes, under ``symbols`` shared ones."""
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return found


def equations_of(target: str) -> Iterator[str]:
    """The formulas of a class and what their symbols mean, as Markdown with LaTeX; nothing for one that has none."""
    name = target.rpartition(".")[2]
    entry = known()["equations"].get(f"stage_two.{name}" if ".stage_two." in target else name)
    if entry:
        yield from (f"$$\n{formula.strip()}\n$$" for formula in entry["formulas"])
        told = (known()["symbols"].get(symbol, symbol) for symbol in entry["where"])
        yield "where\n\n" + "\n".join(f"- {symbol}" for symbol in told)

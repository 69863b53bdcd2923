"""Which version of the user's own code a run is known by."""

from __future__ import annotations

from dataclasses import dataclass

from lt_bench.config.settings import setting


@dataclass
class OwnCode:
    """The version of the user's own code that a run is known by: that of its files as they are, unless one is typed."""

    stage_one: str | None = setting(None, help="of data, method, backbone and training; null: as its files are")
    stage_two: str | None = setting(None, help="of the rule of stage two and its training; null: as its files are")

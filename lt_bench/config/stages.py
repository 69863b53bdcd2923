"""The two stages of a run by name."""

from __future__ import annotations

from enum import Enum


class StageName(Enum):
    """A stage as texts and metrics.jsonl name it.

    The value and ``key`` also name random streams: another spelling would give other results.
    """

    ONE = "stage one"
    TWO = "stage two"

    @property
    def key(self) -> str:
        """The name where it has to be one word."""
        return self.value.replace(" ", "_")

    @property
    def kind(self) -> str:
        """The kind of the record that it leaves: a run is done with its stage two."""
        return "run" if self is StageName.TWO else self.key

    @property
    def training(self) -> str:
        """The config key of its training."""
        return "train" if self is StageName.ONE else f"{self.key}.train"


def stage_of(key: str) -> StageName:
    """The stage that a dotted key of a config belongs to: stage two has a part of its own, all else is stage one's."""
    return StageName.TWO if key.partition(".")[0] == StageName.TWO.key else StageName.ONE

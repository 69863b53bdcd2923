"""Few-shot probe: a linear probe on a few labelled images of every class."""

from __future__ import annotations

from dataclasses import dataclass

from lt_bench.errors import SettingError
from lt_bench.stage_two.linear_probe import LinearProbe


@dataclass
class FewShotProbe(LinearProbe):
    """The linear probe on ``shots`` images of every class (Zhou et al., ICML 2022, and NeurIPS 2023, authors' code).

    They are drawn from the ``train_split`` with ``shot_seed``. Runs that differ in it alone share stage one, and count
    in tables as one run with their mean.  Raises SettingError for values out of range.
    """

    shots: int = 100
    shot_seed: int = 0

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise SettingError("shots", "at least 1", self.shots, 100)
        if self.shot_seed < 0:
            raise SettingError("shot_seed", "at least 0", self.shot_seed, 0)

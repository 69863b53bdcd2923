"""Few-shot probe: a linear probe on a few labelled images of every class."""

from __future__ import annotations

from dataclasses import dataclass

from lt_bench.stage_two.linear_probe import LinearProbe


@dataclass
class FewShotProbe(LinearProbe):
    """The linear probe on ``shots`` images of every class (Zhou et al., ICML 2022, and NeurIPS 2023, authors' code).

    They are drawn from the ``train_split`` with ``shot_seed``. Runs that differ in it alone share stage one, and count
    in tables as one run with their mean.  Raises ValueError for values out of range.
    """

    shots: int = 100
    shot_seed: int = 0

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise ValueError(f"shots is at least 1, not {self.shots}; set stage_two.shots=100")
        if self.shot_seed < 0:
            raise ValueError(f"shot_seed is at least 0, not {self.shot_seed}; set stage_two.shot_seed=0")

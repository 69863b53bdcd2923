"""Values in conf/ that depend on the imbalance: ``${by_factor:{100: A, 10: B}}``."""

from __future__ import annotations

import math
from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf


def register() -> None:
    """Make ``${by_factor:{FACTOR: VALUE}}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("by_factor", by_factor, replace=True)


def by_factor(values: Mapping[float, float], *, _root_: DictConfig) -> float:
    """The value of the factor that is nearest to the run's, as a ratio; data that are not cut have that of the least."""
    factor = _root_.imbalance.factor
    known = sorted(values, key=float)
    if factor is None or not 0 < factor < math.inf:  # the preflight refuses what is no factor
        return values[known[0]]
    return values[min(known, key=lambda one: abs(math.log(one / factor)))]

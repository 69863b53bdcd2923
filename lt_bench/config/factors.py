"""Values in conf/ that depend on the imbalance: ``${by_factor:100,A,10,B}`` is A at factor 100 and B at factor 10."""

from __future__ import annotations

import math

from omegaconf import DictConfig, OmegaConf

RESOLVERS = ("by_factor",)
FACTOR = "imbalance.factor"


def register() -> None:
    """Make ``${by_factor:FACTOR,VALUE,...}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("by_factor", by_factor, replace=True)


def follows_factor(text: str) -> bool:
    """Whether a text has references that may lead to the imbalance factor."""
    return "${" in text and any(word in text for word in ("imbalance", *RESOLVERS))


def by_factor(*factors_and_values: float, _root_: DictConfig) -> float:
    """The value of the factor that is nearest to the run's, as a ratio; that of the least where data are not cut."""
    values = dict(zip(factors_and_values[::2], factors_and_values[1::2], strict=True))
    factor = _root_.imbalance.factor
    if factor is None or not 0 < factor < math.inf:  # the preflight refuses what is no factor
        return values[min(values)]
    return values[min(values, key=lambda known: abs(math.log(known / factor)))]

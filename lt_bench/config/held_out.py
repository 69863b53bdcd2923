"""Values in conf/ that depend on whether a data set has a validation part, for images of one's own.

``${without:0.1,KEY,...}`` is 0.1 where none of the keys says anything, else 0; ``${best_epoch:KEY,...}`` is what
``evaluation.select`` is where some of them set a validation part aside.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

RESOLVERS = ("without", "best_epoch")


def register() -> None:
    """Make ``${without:VALUE,KEY,...}`` and ``${best_epoch:KEY,...}`` known to OmegaConf."""
    for name in RESOLVERS:
        OmegaConf.register_new_resolver(name, globals()[name], replace=True)


def without(value: float, *keys: str, _root_: DictConfig) -> float:
    """The value where all keys are null or 0, else 0."""
    return 0.0 if any(_given(keys, _root_)) else value


def best_epoch(*keys: str, _root_: DictConfig) -> str:
    """``best_validation`` where a key says that there is a validation part and a classifier is trained, else last."""
    trained = _root_.stage_two.name == "none" or _root_.stage_two.train is not None
    return "best_validation" if trained and any(_given(keys, _root_)) else "last"


def _given(keys: tuple[str, ...], root: DictConfig) -> list[Any]:
    return [OmegaConf.select(root, key) for key in keys]

"""What is wrong with trackers, found without importing any: names and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lt_bench.config.compose import groups
from lt_bench.config.schema import Config, flat

_SECRET = re.compile(r"(api|access|secret)_?key|token|secret|password|credentials?", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"://[^/@]*:[^/@]*@")


def nodes(config: Config) -> dict[str, Any]:
    """The nodes of a config's trackers by their dotted keys."""
    return {f"tracker.{name}": values for name, values in config.tracker.items()}


def wrong_trackers(config: Config) -> Iterator[str]:
    """One line for every tracker that has no class or no name of a file, and for every secret."""
    for name, values in config.tracker.items():
        if not str(name).isidentifier():  # its files in the run folder are called so
            yield f"tracker.{name}: its name is letters, digits and _; write tracker.my_name._target_=my_module.Mine"
        elif isinstance(values, dict) and "_target_" not in values:
            known = name in groups()["tracker"]
            yield f"tracker.{name} names no class; add " + (
                f"tracker={name}, or tracker=[{name},OTHER] for several"
                if known
                else f"tracker.{name}._target_=my_module.Mine"
            )
        for key, value in flat(values).items() if isinstance(values, dict) else ():
            if _SECRET.fullmatch(key.rpartition(".")[2]) or (isinstance(value, str) and _IN_ADDRESS.search(value)):
                yield (
                    f"tracker.{name}.{key}: a secret would stand in every run folder; leave it out, and give it as the "
                    "package of the tracker reads it from the environment, such as WANDB_API_KEY or "
                    "MLFLOW_TRACKING_PASSWORD"
                )

"""Values that are out of range, or none of the allowed words."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

from lt_bench.augment.views import VIEWS
from lt_bench.config import optimizers
from lt_bench.config.compose import shown
from lt_bench.config.keys import find
from lt_bench.config.schema import Config, flat, plain
from lt_bench.config.settings import MOST_COUNT, MOST_NUMBER, MOST_SEED, Setting

ANY = Setting("")  # parameters of classes take finite numbers
SEED = Setting("", least=0, most=MOST_SEED)  # and those that are seeds what the schema's take
PATHS = ("_dir", "_list", ".root", ".packed", ".pretrained")  # ends of keys


def out_of_range(config: Config) -> Iterator[str]:
    """One line for every value outside its range or its list of words."""
    for key, value in flat(plain(config)).items():
        known = find(key)
        if known and isinstance(value, str) and (not value.strip() or "\0" in value):
            yield f"{key}={shown(value)}: {key}= takes one line of text that is not empty"
        elif key.endswith(PATHS) and str(value).startswith("~") and os.path.expanduser(value).startswith("~"):
            yield f"{key}={shown(value)}: where this home folder is, is not known; write {key}= with its whole path"
        elif said := _takes(known.setting if known else optimizers.range_of(key) or _of_parameter(key), value):
            yield f"{key}={shown(value)}: {key}= takes {said}"
    single = config.method.get("cluster_view")
    for key, views in (("views", config.method.get("views")), ("cluster_view", [single] if single else [])):
        for view in dict.fromkeys(views or []):
            if view not in VIEWS:
                wanted = "a list of " if key == "views" else ""
                yield f"method.{key}: unknown view {view!r}; method.{key}= takes {wanted}{', '.join(VIEWS)}"


def _of_parameter(key: str) -> Setting:
    """What the parameter of a class takes, by its name."""
    return SEED if key.rpartition(".")[2] in ("seed", "random_state") or key.endswith("_seed") else ANY


def _takes(setting: Setting, value: Any) -> str:
    """What a setting takes, where a value is none of it."""
    numbers = [x for x in (value if isinstance(value, list) else [value]) if isinstance(x, (int, float))]
    uncountable = any(isinstance(x, int) and x > MOST_COUNT for x in numbers) and setting.most == math.inf
    least, most = setting.least, MOST_COUNT if uncountable and setting is not ANY else setting.most
    if setting.choices and value not in setting.choices:
        return ", ".join(setting.choices)
    if setting.length is not None and value is not None and len(value) != setting.length:
        return f"a list of {setting.length} numbers"
    if not all(abs(x) <= MOST_NUMBER and least <= x <= most for x in numbers):
        bounds = f" from {least:g}" * (least > -math.inf) + f" to {most:g}" * (most < math.inf)
        return f"{'' if bounds else 'finite '}numbers{bounds}"
    return f"numbers above {setting.above:g}" if not all(x > setting.above for x in numbers) else ""

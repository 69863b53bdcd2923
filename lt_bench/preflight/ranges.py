"""Values that are out of range, or none of the allowed words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from lt_bench.augment import described
from lt_bench.augment.views import VIEWS
from lt_bench.config import optimizers
from lt_bench.config.compose import shown
from lt_bench.config.keys import find, nearest
from lt_bench.config.schema import Config, flat, plain
from lt_bench.config.settings import MOST_SEED, Setting

ANY = Setting("")  # parameters of classes take finite numbers
SEED = Setting("", least=0, most=MOST_SEED)  # and those that are seeds what the schema's take
PATHS = ("_dir", "_list", ".root", ".packed", ".pretrained")  # ends of keys


def out_of_range(config: Config) -> Iterator[str]:
    """One line for every value outside its range or its list of words."""
    for key, value in flat(plain(config)).items():
        yield from wrong_value(key, value)
    yield from _views(config)


def wrong_value(key: str, value: Any) -> Iterator[str]:
    """One line for a value outside the range, or the list of words, of its key."""
    known = find(key)
    if known and isinstance(value, str) and (not value.strip() or "\0" in value):
        yield f"{key}={shown(value)}: {key}= takes one line of text that is not empty"
    elif key.endswith(PATHS) and str(value).startswith("~") and os.path.expanduser(value).startswith("~"):
        yield f"{key}={shown(value)}: where this home folder is, is not known; write {key}= with its whole path"
    elif said := (known.setting if known else optimizers.range_of(key) or _of_parameter(key)).refuses(value):
        yield f"{key}={shown(value)}: {key}= takes {said}"


def _views(config: Config) -> Iterator[str]:
    """Views that nobody knows; descriptions that are right are made canonical in place."""
    single, given = config.method.get("cluster_view"), config.method.get("views")
    if single and single not in VIEWS:
        yield f"method.cluster_view: unknown view {single!r}; method.cluster_view= takes {', '.join(VIEWS)}"
    if not isinstance(given, list):
        return
    problems = [*dict.fromkeys(problem for view in given for problem in _of_view(view, config))]
    yield from problems
    if not problems:
        config.method["views"] = [described.canonical(view) for view in given]


def _of_view(view: Any, config: Config) -> Iterator[str]:
    if isinstance(view, str) and (view in described.OPERATIONS or view == "crop"):
        yield f"method.views: {view} is an operation, and a view is a list of them, such as method.views=[[{view}]]"
    elif isinstance(view, str) and view not in VIEWS:
        yield (
            f"method.views: unknown view {view!r}; method.views= takes a list of {', '.join(VIEWS)}, or of lists of "
            f"operations such as [crop_flip,{{cutout:{{length:16}}}}]{nearest(view, VIEWS)}"
        )
    elif not isinstance(view, str):
        problems = described.wrong(view, VIEWS, config.dataset.image_size)
        yield from (f"method.views: {problem}" for problem in problems)


def _of_parameter(key: str) -> Setting:
    """What the parameter of a class takes, by its name."""
    return SEED if key.rpartition(".")[2] in ("seed", "random_state") or key.endswith("_seed") else ANY

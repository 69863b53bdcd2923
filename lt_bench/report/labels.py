"""Labels of rows as a person would write them: «SBCL / CB, exponential temperatures»."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lt_bench.augment.described import written
from lt_bench.record.conditions import shortened, word

# how a setting, or one value of it, reads where its key and value side by side do not
PHRASES = {
    "method.clustering=kmeans_official": "k-means of the authors' code",
    "evaluation.views=five": "5 crops",
    "evaluation.views=ten": "10 crops",
    "evaluation.expand": "crops with {} pixels around",
    "fidelity": "fidelity {}",
    "logits": "{}",
    "group_rule": "groups {}",
    "selection": "checkpoint {}",
    "method.clustering": "{} clustering",
    "method.temperature_law": "{} temperatures",
    "stage_two.train.epochs": "{} epochs of stage two",
    "stage_two.train.lr": "learning rate of stage two {}",
    "train.epochs": "{} epochs",
    "train.lr": "learning rate {}",
}


def labels(names: Sequence[str], details: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each row, different from those of all others where its details differ from theirs.

    ``names`` are those of method and stage two, ``details`` the settings by key in which the row differs from its
    namesakes. Rows that would read alike have their keys in full.
    """
    found = [", ".join([name, *map(phrase, one, one.values())]) for name, one in zip(names, details, strict=True)]
    return [
        label if found.count(label) == 1 else raw(name, one)
        for label, name, one in zip(found, names, details, strict=True)
    ]


def raw(name: str, details: Mapping[str, Any]) -> str:
    """A row's name with its settings as they are typed: ``SBCL / CB (method.temperature_law=exponential)``."""
    words = [f"{word(key)}={word(value)}" for key, value in details.items()]
    return f"{name} ({', '.join(words)})" if words else name


def phrase(key: str, value: Any) -> str:
    """A setting in words; the last part of its key stands for it where ``PHRASES`` has no better ones."""
    name = shortened(key.rpartition(".")[2].replace("_", " ").strip())
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {name}"
    if value is None:
        return f"no {name}"
    if key == "method.views" and isinstance(value, list):
        value = list(map(written, value))
    form = PHRASES.get(f"{key}={value}") or PHRASES.get(key) or f"{name} {{}}"
    return form.replace("{}", shortened(_value(value)))


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value):
        return " and ".join(filter(None, [", ".join(map(_value, value[:-1])), *map(_value, value[-1:])])) or "none"
    return json.dumps(value, ensure_ascii=False)

"""Conditions: what runs must agree in to share a table, and how tables under different conditions are told apart."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LONGEST = 120  # characters of a word
LONGEST_NAME = 150  # bytes of a file's name, which file systems end at 143 or 255
GROUPS = ("dataset", "backbone", "evaluation", "imbalance", "budget")


# where a record has the epochs of its stages, and what tables call them
EPOCHS = {"train.epochs": "epochs", "stage_two.train.epochs": "epochs of stage two"}


class Label(NamedTuple):
    """What tells a section from its namesakes: a suffix for its name, and ``key=value`` words for its caption."""

    suffix: str
    words: list[str]


def conditions(settings: str) -> str:
    """Those of a run's settings (JSON text) that say on what it was measured, not how, as canonical JSON text."""
    return conditions_of(json.loads(settings))


def conditions_of(settings: Mapping[str, Any]) -> str:
    """As ``conditions``, of settings as a record has them."""
    chosen = {key: value for key, value in settings.items() if key.partition(".")[0] in GROUPS}
    return json.dumps(chosen, sort_keys=True, ensure_ascii=False)


def distinguish(namesakes: Sequence[str]) -> list[Label]:
    """A label for the conditions of each of several sections, made of the keys in which any two of them differ.

    The words name all these keys, the suffix only those that are set; both are empty where nothing differs.
    """
    parts = [json.loads(text) for text in namesakes]
    keys = sorted({key for part in parts for key in part}, key=_place)
    differing = [key for key in keys if len({json.dumps(part[key]) if key in part else None for part in parts}) > 1]
    return [
        Label(
            "".join(
                f"_{slug(key.rpartition('.')[2].strip('_'))}-{slug(word(part[key]))}"
                for key in differing
                if key in part
            ),
            [f"{word(key)}={word(part[key]) if key in part else 'default'}" for key in differing],
        )
        for part in parts
    ]


def word(value: Any) -> str:
    """A setting's value as a reader would type it, where it is not too long for that."""
    return shortened(value if isinstance(value, str) else json.dumps(value))


def epochs_of(settings: Mapping[str, Any]) -> str:
    """The epochs of both stages of a run, ``300+45``; a dash where its settings have none."""
    return "+".join(word(settings[key]) for key in EPOCHS if key in settings) or "–"


def shortened(text: str, most: int = LONGEST) -> str:
    """A text of so many characters at most: its beginning, and a digest by which it differs from others."""
    return text if len(text) <= most else f"{text[: most - 9]}…{digest(text)}"


def digest(text: str) -> str:
    """Eight hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def slug(text: str) -> str:
    """Text as a part of a file's name (see ``file_name``)."""
    return re.sub(r"[^\w.+-]+", "-", text.strip('[]{}"'))


def file_name(text: str, most: int = LONGEST_NAME) -> str:
    """A slug as the name of a file, without suffix: not hidden, no option, and of so many bytes at most."""
    name = text.lstrip(".-") or "table"
    kept = name.encode("utf-8", "replace")[: most - 9].decode("utf-8", "ignore")
    return name if len(name.encode("utf-8", "replace")) <= most else f"{kept}_{digest(text)}"


def _place(key: str) -> tuple[int, str]:
    return GROUPS.index(key.partition(".")[0]), key

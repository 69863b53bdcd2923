"""What identifies a study in a caption: images, epochs, settings of the data and the network, code of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lt_bench.record.conditions import EPOCHS, word
from lt_bench.report.sections import Section

COUNTED = ("train_images", "test_images", "classes")
OWN = ("lt_bench.", "torch.", "torchvision.")  # where classes come from that a name tells enough of
# said by the rest of the caption; a mean and a deviation scale what is seen, and change no image
ELSEWHERE = (
    *("imbalance.factor", "imbalance.profile", "evaluation.split"),
    *("dataset.num_classes", "dataset.mean", "dataset.std", "dataset.group_rule"),
)


def study(section: Section) -> str:
    """The words of a caption that tell a study from another one on the same data set, for people who compare tables.

    Numbers of images and classes (a range where runs differ), epochs of both stages, every setting of the data set,
    the imbalance, the evaluation and the backbone, and each class from outside the package.
    """
    settings = [json.loads(row.fields["settings"]) for row in section.rows]
    told = {text.partition("=")[0] for text in section.conditions} | set(ELSEWHERE)
    given = json.loads(section.fields["conditions"])
    words = [f"{word(key.rpartition('.')[2])} {word(value)}" for key, value in given.items() if _tells(key, told)]
    own = {word(value) for one in settings for key, value in one.items() if _is_own(key, value)}
    named = [f"own code: {', '.join(sorted(own))}"] * bool(own)
    return "; ".join([*_images(section), *_epochs(settings), *words, *named])


def _tells(key: str, told: Iterable[str]) -> bool:
    return key not in told and not key.endswith("_target_")


def _is_own(key: str, value: Any) -> bool:
    return key.endswith("_target_") and not str(value).startswith(OWN)


def _images(section: Section) -> list[str]:
    found = ({number for row in section.rows for number in row.runs[name].tolist()} for name in COUNTED)
    train, test, classes = (_range(number for number in numbers if number == number) for numbers in found)
    if not test:  # scenes, of which several classes have the same image
        return [f"{classes} classes"] if classes else []
    return [f"{train} training and {test} test images of {classes} classes"] if train else []


def _epochs(settings: list[dict[str, Any]]) -> list[str]:
    found = {name: [one[key] for one in settings if key in one] for key, name in EPOCHS.items()}
    return [f"{name} {_range(values)}" for name, values in found.items() if values]


def _range(values: Iterable[Any]) -> str:
    """The least and the largest number; a record may hold other words, which are none."""
    found = sorted({int(value) for value in values if isinstance(value, (int, float))})
    return "–".join(f"{value:,}" for value in dict.fromkeys([found[0], found[-1]])) if found else ""

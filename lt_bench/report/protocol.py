"""How the runs of a row were trained and evaluated, and in what a published result differs from that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lt_bench.augment.described import written
from lt_bench.config.signatures import OPAQUE, REQUIRED, TargetError, class_attribute, parameters
from lt_bench.published.entries import Published
from lt_bench.record.conditions import word
from lt_bench.report.labels import phrase
from lt_bench.report.sections import Row, Section
from lt_bench.report.typed import DATA, NODES, own_settings

SAID = {"epochs": "epochs", "backbone": "network", "stage_two": "stage two", "select": "checkpoint", "groups": "groups"}


def settings_of(row: Row) -> dict[str, Any]:
    """The settings of a row's runs by dotted key, less those that have their defaults."""
    found: dict[str, Any] = json.loads(row.fields["settings"])
    return found


def value_in(settings: dict[str, Any], node: str, name: str) -> Any:
    """A parameter of the class of a node such as "method": as it was set, else its default; None where it has none.

    The class is read, never imported.
    """
    key = f"{node}.{name}"
    if key in settings:
        return settings[key]
    try:
        known = parameters(str(settings.get(f"{node}._target_")))
    except TargetError:
        return None
    default = known[name].default if name in known else None
    return None if default in (OPAQUE, REQUIRED) else default


def learns_without_labels(settings: dict[str, Any]) -> bool:
    """Whether the class of a method says that it never reads labels; not where nobody knows the class."""
    try:
        return class_attribute(str(settings.get("method._target_")), "self_supervised") is True
    except TargetError:
        return False


def views(settings: dict[str, Any]) -> list[str] | None:
    """The views of an image that a method sees, the first of which its classifier sees; None: nobody says so."""
    found = value_in(settings, "method", "views")
    return list(map(written, found)) if isinstance(found, (list, tuple)) and found else None


def differences(section: Section, row: Row, entry: Published) -> list[str]:
    """Every difference between the protocol of a row and that of a published result, in words.

    What the source does not say is named as well, because it may be a difference; so is every setting in which the row
    differs from its recipe.
    """
    settings, ours = settings_of(row), _ours(section, row)
    theirs = {name: getattr(entry, name) for name in SAID}
    if entry.many is None:
        del theirs["groups"]  # it has no figure that depends on them
    others = {name: one for name, one in theirs.items() if one not in (None, ours[name])}
    said = [f"{SAID[name]} {word(ours[name])} here, {one} there" for name, one in others.items()]
    if entry.evaluated_on != section.fields["evaluated_on"]:
        said.append(f"{section.fields['evaluated_on']} images here, {entry.evaluated_on} images there")
    said += [f"here {phrase(key, value)}" for key, value in own_settings(row, (*NODES, *DATA))]
    silent = [SAID[name] for name, one in theirs.items() if one is None]
    said += [f"not stated there: {', '.join(silent)}"] * bool(silent)
    here = ", ".join(_told(section, row, settings))
    return [*said, f"here {here}; there {f'«{entry.protocol}»' if entry.protocol else 'none of it is stated'}"]


def _ours(section: Section, row: Row) -> dict[str, Any]:
    first = row.runs.iloc[0]
    return {
        "epochs": settings_of(row).get("train.epochs"),
        "backbone": section.fields["backbone"],
        "stage_two": first["stage_two"],
        "select": row.fields["selection"],
        "groups": row.fields["group_rule"],
    }


def _told(section: Section, row: Row, settings: dict[str, Any]) -> Iterator[str]:
    """What few sources say in words that could be compared."""
    for key, name in (("train.batch_size", "batch"), ("stage_two.train.epochs", "epochs of stage two")):
        if key in settings:
            yield f"{name} {word(settings[key])}"
    if seen := views(settings):
        yield f"views {word(', '.join(seen))}"
    images = row.runs["test_images"].dropna().unique()
    if len(images) == 1:
        yield f"{images[0]:,.0f} {section.fields['evaluated_on']} images"

"""The head of a file of choices, its package line and its list of defaults: what Hydra says of it in its own words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from lt_bench.config.conf import is_file, names_in, place_of, text_of, values_of
from lt_bench.config.keys import find, nearest
from lt_bench.config.recipes import LISTS
from lt_bench.errors import UsageError

GLOBAL = "_global_"
FORMS = "write - NAME for another file of this folder, or - override /GROUP: CHOICE"
_PACKAGE = re.compile(r"^# *@package +(\S+)", re.MULTILINE)
# Groups whose choice is no line of defaults, and what to write instead.
_ELSEWHERE = {
    "optimizer": "set train: {{optimizer: {{name: {choice}}}}} beside them, or type optimizer={choice}",
    "experiment": "an experiment builds on another with - {choice}",
}


def check_heads(names: Iterable[str], groups: Collection[str]) -> None:
    """Raise UsageError for the first of some files (group/choice), or of those that they build on, with a wrong head.

    ``groups`` are those of which every run has a choice. What is not known here is left to Hydra.
    """
    for name in names:
        if is_file(name):
            _check(name, {*groups, "recipe"} - _ELSEWHERE.keys(), ())


def _check(name: str, groups: Collection[str], above: tuple[str, ...]) -> None:
    if name in above:
        raise UsageError(f"{place_of(name)}: it builds on itself by way of its defaults; take {above[-1]} out of them")
    if wrong := _wrong_package(name):
        raise UsageError(f"{place_of(name)}: {wrong}")
    for entry in values_of(name).get("defaults", []):
        if wrong := _wrong_entry(name, entry, groups):
            raise UsageError(f"{place_of(name)}: its defaults have {_shown(entry)}: {wrong}")
        for below in _files(name, entry):
            _check(below, groups, (*above, name))


def _wrong_package(name: str) -> str:
    """Why what a file sets leads nowhere; empty where it leads to keys, and for a choice with a node of its own."""
    group, values = name.rpartition("/")[0], values_of(name)
    typed = _PACKAGE.search(text_of(name))
    package = typed[1] if typed else group.replace("/", ".")
    known = find(package)
    leads = known is not None and known.below is not None and package not in values  # no method.method
    if leads or group in LISTS or not values or package in (GLOBAL, "_group_"):
        return ""
    return f"its keys would stand below {package}; begin it with the line # @package {GLOBAL}"


def _wrong_entry(name: str, entry: Any, groups: Collection[str]) -> str:
    """Why a line of defaults cannot be, with what to write; empty for one that can, or that only Hydra understands."""
    if isinstance(entry, str):
        below = _files(name, entry)
        group = name.rpartition("/")[0]
        missing = below and not is_file(below[0])
        return f"there is no {group}={entry}{nearest(entry, names_in(group))}; {FORMS}" if missing else ""
    if not isinstance(entry, dict) or len(entry) != 1:
        return FORMS
    ((key, choice),) = entry.items()
    words = str(key).split()
    group = words[-1].lstrip("/") if words else ""
    overrides = words[:-1] == ["override"]
    if not re.fullmatch(r"\w+", group) or not (overrides or str(key).startswith("/")):
        return ""
    if group in _ELSEWHERE:
        return _ELSEWHERE[group].format(choice=choice)
    if group not in groups:
        return f"{group} is no group{nearest(group, groups)}; groups are {', '.join(sorted(groups))}"
    if not overrides or not words[-1].startswith("/"):
        return f"write - override /{group}: {choice}"
    return _wrong_choice(group, choice)


def _wrong_choice(group: str, choice: Any) -> str:
    if isinstance(choice, list) and group not in LISTS:
        return f"a run has one {group}; write one choice"
    for one in choice if isinstance(choice, list) else [choice]:
        if group != "recipe" and "${" not in str(one) and not is_file(f"{group}/{one}"):
            known = names_in(group)
            return f"unknown {group} {str(one)!r}{nearest(str(one), known)}; {group}= takes {', '.join(known)}"
    return ""


def _files(name: str, entry: Any) -> list[str]:
    """The files that a line of defaults names, as far as they stand there by name; the first may be missing."""
    if isinstance(entry, str):
        own = re.fullmatch(r"\w+", entry) and entry != "_self_"
        return [f"{name.rpartition('/')[0]}/{entry}"] if own else []
    ((key, choice),) = entry.items()
    override = re.fullmatch(r"override /(\w+)", str(key))
    named = choice if isinstance(choice, list) else [choice]
    return [f"{override[1]}/{one}" for one in named if is_file(f"{override[1]}/{one}")] if override else []


def _shown(entry: Any) -> str:
    pair = isinstance(entry, dict) and len(entry) == 1
    return f"- {next(iter(entry))}: {next(iter(entry.values()))}" if pair else f"- {entry}"

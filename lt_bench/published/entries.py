"""Published results: one entry per figure of a paper or repository, found by what was run."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, NamedTuple

from lt_bench.config.conf import names_in
from lt_bench.config.evaluation import Evaluation
from lt_bench.config.keys import nearest
from lt_bench.config.settings import Setting, setting, setting_of
from lt_bench.errors import UsageError
from lt_bench.evaluation.shots import GROUPS, RULES
from lt_bench.published.tables import names, place, table

# files that hold no entries
OTHERS = ("lists", "missing", "words")
NAMED = ("method", "stage_two", "dataset", "imbalance", "backbone")  # groups of conf/ whose choices entries name
CERTAINTY = ("read", "transcribed", "quoted")
_WORD = r"[a-z0-9][a-z0-9_.]*"
_PERCENT: Any = {"least": 0.0, "most": 100.0}
PATTERNS = {
    "id": rf"{_WORD}(-{_WORD})+",
    "variant": _WORD,
    "test_distribution": r"(forward|backward)[1-9]\d*",
    "run_by": rf"authors|(rerun|quoted)_by_{_WORD}",
}


class Spread(NamedTuple):
    """The spread of accuracies over runs, in percentage points; None where it is not known."""

    all: float | None = None
    many: float | None = None
    medium: float | None = None
    few: float | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published result, in the words of conf/; what is not known is None.

    Accuracies, spreads and calibration errors are in percent, each accuracy being top-1. Groups are those of a rule of
    ``evaluation.shots``. A result agrees with a run although something of it is not known.
    """

    id: str = setting(help="its name, which is no other entry's")
    method: str = setting(help="the method, which is the name of the file")
    label: str = setting(help="what the source calls it")
    variant: str | None = setting(None, help="what differs from the method's plain form")
    stage_two: str | None = setting(None, help="the rule that fits the classifier; none: there is no second stage")
    dataset: str = setting(help="the data set")
    imbalance: str = setting(help="largest divided by smallest class, such as if100, or native")
    backbone: str | None = setting(None, help="the encoder")
    epochs: int | None = setting(None, least=1, help="epochs of stage one")
    all: float | None = setting(None, **_PERCENT, help="accuracy on all test images")
    many: float | None = setting(None, **_PERCENT, help="mean accuracy of classes with many training images")
    medium: float | None = setting(None, **_PERCENT, help="mean accuracy of classes between many and few")
    few: float | None = setting(None, **_PERCENT, help="mean accuracy of classes with few training images")
    ece: float | None = setting(None, **_PERCENT, help="expected calibration error of 15 bins")
    spread: Spread | None = setting(None, **_PERCENT, help="the spread of all, many, medium or few")
    spread_kind: str | None = setting(None, help="which spread, and of what")
    seeds: int | None = setting(None, least=1, help="how many runs it is the mean of")
    groups: str | None = setting(None, choices=tuple(RULES), help="the rule of many, medium and few")
    select: str | None = setting(None, help="the epoch that was evaluated")
    evaluated_on: str = setting("test", help="the images that it was evaluated on")
    test_distribution: str | None = setting(None, help="the long tail of the test set, such as forward50")
    shots: int | None = setting(None, least=1, help="labelled images of each class that a probe was fitted on")
    protocol: str | None = setting(None, help="what else is known of how it was trained")
    run_by: str = setting(help="authors, rerun_by_... or quoted_by_...: who ran it, or who says so")
    certainty: str = setting(
        choices=CERTAINTY, help="read in the source, transcribed from it and not read again, or quoted by another work"
    )
    source: str = setting(help="the paper, repository or list of results")
    where: str = setting(help="its table or file, with the date or commit of a repository that changes")
    note: str | None = setting(None, help="what a reader must know beside this")

    @property
    def factor(self) -> float | None:
        """Largest divided by smallest class; None: the data set's own counts."""
        return None if self.imbalance == "native" else float(self.imbalance.removeprefix("if"))

    def agrees(self, **run: str | int | None) -> bool:
        """Whether nothing that is known of it contradicts fields of a run; a value of None asks nothing."""
        found = ((getattr(self, name), value) for name, value in run.items() if value is not None)
        return all(own in (None, value) for own, value in found)


_FIELDS = {field.name: field for field in fields(Published)}


@cache
def words() -> dict[str, tuple[str, ...]]:
    """The words that a field takes, by field: choices of conf/, settings, and what words.yaml adds."""
    further = table("words", ("method", "stage_two", "backbone"))
    found = {group: (*names_in(group), *further.get(group, ())) for group in NAMED}
    of_run = {field.name: setting_of(field).choices for field in fields(Evaluation)}
    own = {field.name: setting_of(field).choices for field in fields(Published) if setting_of(field).choices}
    return found | own | {"select": of_run["select"], "evaluated_on": of_run["split"]}


@cache
def methods() -> list[str]:
    """The methods of which published results are here, sorted."""
    return [name for name in names() if name not in OTHERS]


@cache
def of_method(method: str) -> tuple[Published, ...]:
    """The published results of a method, in the order of its file; none where there is no file.

    Raises UsageError naming file and entry for an unknown key or word, a missing key, and a value of another kind or
    out of range.
    """
    if method not in methods():
        return ()
    return tuple(read(method, table(method, ("entries",))["entries"]))


@cache
def by_id() -> dict[str, Published]:
    """All published results by their ids; raises UsageError for an id that is there twice."""
    found = dict[str, Published]()
    for entry in (entry for method in methods() for entry in of_method(method)):
        if entry.id in found:
            raise UsageError(f"{place(entry.method)}: {entry.id} is in {place(found[entry.id].method)} too")
        found[entry.id] = entry
    return found


def find(method: str, *, plain: bool = True, **run: str | int | None) -> list[Published]:
    """The published results of a method that agree with fields of a run, such as ``stage_two`` and ``imbalance``.

    ``plain`` leaves out variants of the method and other test distributions.
    """
    found = (entry for entry in of_method(method) if entry.agrees(**run))
    return [entry for entry in found if not plain or (entry.variant is None and entry.test_distribution is None)]


def read(method: str, entries: Any) -> list[Published]:
    """The entries of a method's file, checked; raises UsageError as ``of_method``."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{place(method)}: entries is no list of entries")
    found = []
    for number, entry in enumerate(entries, start=1):
        if problem := next(_problems({"method": method, **entry}, entry), None):
            raise UsageError(f"{place(method)}: entry {entry.get('id', number)}: {problem}")
        spread = {"spread": Spread(**entry["spread"])} if "spread" in entry else {}
        found.append(Published(**{"method": method, **entry, **spread}))
    return found


def _problems(values: Mapping[str, Any], typed: Collection[str]) -> Iterator[str]:
    if "method" in typed:
        yield "its method is the name of the file; take method out"
    for name in values:
        if name not in _FIELDS:
            yield f"unknown key {name}{nearest(str(name), _FIELDS)}"
    for name, field in _FIELDS.items():
        if name in values:
            if said := _wrong(name, values[name]):
                yield f"{name} is {values[name]!r}; it takes {said}"
        elif field.default is MISSING:
            yield f"{name} is missing: {setting_of(field).help}"
    measured = {name for name in Spread._fields if name in values}
    if not measured:
        yield "it has no accuracy; write all, or many, medium and few"
    if len(measured & set(GROUPS)) not in (0, len(GROUPS)):
        yield "it has some of many, medium and few; write all three"
    if ("spread" in values) != ("spread_kind" in values):
        yield "spread and spread_kind stand together"
    if wrong := set(values.get("spread") or ()) - measured:
        yield f"it has a spread of {', '.join(sorted(wrong))} and no accuracy of that"


def _wrong(name: str, value: Any) -> str | None:
    """What a field takes, where a value is none of it."""
    setting, hint = setting_of(_FIELDS[name]), str(_FIELDS[name].type).removesuffix(" | None")
    if name == "spread":
        percents = isinstance(value, dict) and value and value.keys() <= set(Spread._fields)
        fine = percents and all(_number(one, setting) for one in value.values())
        return None if fine else f"percent by name: {', '.join(Spread._fields)}"
    if hint == "str":
        if name in words():
            return None if value in words()[name] else ", ".join(words()[name])
        if not isinstance(value, str) or not value.strip():
            return "words"
        pattern = PATTERNS.get(name, r".+")
        return None if re.fullmatch(pattern, value) else f"words like {pattern}"
    whole = hint == "int"
    if _number(value, setting) and (not whole or isinstance(value, int)):
        return None
    most = f" to {setting.most:g}" * math.isfinite(setting.most)
    return f"{'whole ' if whole else ''}numbers from {setting.least:g}{most}"


def _number(value: Any, setting: Setting) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and setting.least <= value <= setting.most

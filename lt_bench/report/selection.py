"""Which records a report is about: words such as ``dataset=cifar100_lt`` or ``train.lr=0.1,0.2``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lt_bench.errors import UsageError
from lt_bench.files import parse_json
from lt_bench.record.collect import Found
from lt_bench.record.record import RunRecord

FIELDS = (
    *("dataset", "imbalance", "imbalance_profile", "method", "stage_two", "backbone", "budget", "fidelity"),
    *("seed", "split_seed", "selection", "group_rule", "run_id", "setting_id"),
)

DEFAULT = "default"


def selected(records: Sequence[RunRecord], words: Sequence[str], flag: str = "--where") -> list[RunRecord]:
    """The records for which every ``key=value`` holds; of values with commas between them, one must.

    A key is one of ``FIELDS`` or a setting as a config has it; ``imbalance`` is native, or a factor as 100 or if100.
    A value that is text is compared as it is spelled, any other by what it means: 0.10 and 1e-1 are one number; default
    stands for a setting that a record does not have, because it is at its default. Raises UsageError, which names the
    ``flag`` that gave the words, for words that are none, a key that no record has and values that leave no record,
    with those that there are.
    """
    for text in words:
        key, sign, values = text.partition("=")
        if not sign:
            raise UsageError(f"{flag} {text}: write KEY=VALUE, such as dataset=cifar100_lt")
        known = {spelt for record in records for spelt in _spelt(key, record)}
        if not known and records:
            raise UsageError(f"{flag} {text}: no run has {key}; keys are {', '.join(FIELDS)} and settings of a config")
        wanted = {values, *values.split(",")}
        meant = [_meant(one.removeprefix("if") if key == "imbalance" else one) for one in wanted]
        lacking = DEFAULT in wanted and key not in FIELDS
        kept = [
            record
            for record in records
            if wanted & _spelt(key, record) or _means(key, record, meant) or (lacking and key not in record.settings)
        ]
        if records and not kept:
            raise UsageError(f"{flag} {text}: no run; {key} is one of {', '.join(sorted(known))}")
        records = kept
    return list(records)


def chosen(found: Sequence[Found], words: Sequence[str], flag: str = "--where") -> list[Found]:
    """As ``selected``, of records with the places that they were found in."""
    names = {record.run_id for record in selected([one.record for one in found], words, flag)}
    return [one for one in found if one.record.run_id in names]


def value_of(key: str, record: RunRecord) -> Any:
    """What a record has under one of ``FIELDS`` or a setting; None where it has none."""
    if key == "imbalance":
        return "native" if record.imbalance_factor is None else f"if{record.imbalance_factor:g}"
    return getattr(record, key) if key in FIELDS else record.settings.get(key)


def _spelt(key: str, record: RunRecord) -> set[str]:
    value = value_of(key, record)
    if value is None and key not in record.settings:
        return set()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    names = {"method": {record.method_name}, "stage_two": {record.stage_two_name}}.get(key, set())
    return {text, *names} | ({text.removeprefix("if")} if key == "imbalance" else set())


def _meant(text: str) -> Any:
    """The value that a word stands for: JSON, or a number as Python spells it; else the word itself."""
    for read in (parse_json, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _means(key: str, record: RunRecord, meant: Sequence[Any]) -> bool:
    value = record.imbalance_factor if key == "imbalance" else value_of(key, record)
    return value is not None and not isinstance(value, str) and any(_equal(value, one) for one in meant)


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal as numbers, in lists as well; true and false are no numbers."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)

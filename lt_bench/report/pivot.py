"""Tables of one metric with a key on each axis: methods by imbalance factors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import METRICS
from lt_bench.record.conditions import EPOCHS, GROUPS, epochs_of, file_name, slug, word
from lt_bench.record.models import models
from lt_bench.record.order import order_of
from lt_bench.record.record import CONTRIBUTED, SHOT_SEED, RunRecord
from lt_bench.report.selection import FIELDS, value_of
from lt_bench.report.tables import SMOKE, Table, cell, shown_unit

# what may differ between cells only where an axis says so
APART = (
    *("dataset", "imbalance", "imbalance_profile", "backbone", "method", "stage_two", "fidelity", "budget"),
    *("selection", "group_rule"),
)
MOST_UNSEEN = 6  # settings that a caption names
CONTRIBUTIONS = "‡ Runs among these were contributed, and not run by us: the tables without --rows say by whom."
TITLES = {"method": "method_name", "stage_two": "stage_two_name"}


def pivot_table(records: Sequence[RunRecord], rows: Sequence[str], cols: str, metric: str) -> Table:
    """Mean and spread of a metric for every pair of values of some keys, over the runs of one setting each.

    Keys are those of ``selection``. Raises UsageError where something that no axis shows differs, so that cells could
    not be compared, and where a cell has several settings, with what to type.
    """
    _require_alike(records, [*rows, cols])
    groups: dict[tuple[Any, ...], dict[Any, list[RunRecord]]] = {}
    for record in sorted(records, key=lambda one: (*_place(one, rows), *_place(one, [cols]))):
        across = groups.setdefault(tuple(_title(key, record) for key in rows), {})
        across.setdefault(_title(cols, record), []).append(record)
    _require_one_setting(groups, rows, cols)
    heads = sorted({_title(cols, one): _place(one, [cols]) for one in records}.items(), key=lambda item: item[1])
    factor, form = shown_unit(metric)
    epochs = _epochs(groups, [*rows, cols])
    cells, values = [], []
    for names, across in groups.items():
        points = {
            head: pd.Series([_mean(draws, metric) for draws in _models(across, head)], dtype=float) * factor
            for head, _ in heads
        }
        others = {head: " ‡" * any(map(_is_contributed, across.get(head, []))) for head in points}
        shown = {
            head: cell(found.mean(skipna=False), found.std(ddof=1), form) + others[head]
            for head, found in points.items()
        }
        cells.append({" / ".join(rows): " / ".join(names), **epochs.get(names, {}), **shown})
        for head, found in points.items():
            runs = across.get(head, [])
            one = {"n": len(found), "mean": found.mean(skipna=False), "std": found.std(ddof=1)}
            identities = " ".join(run.run_id for run in runs)
            values.append(
                {**dict(zip(rows, names, strict=True)), cols: head, "metric": metric, **one, "runs": identities}
            )
    shared = {key: value_of(key, records[0]) for key in APART if key not in (*rows, cols)}
    told = ", ".join(f"{key} {word(value)}" for key, value in shared.items())
    what = f"{METRICS[metric].column} in {METRICS[metric].unit}, mean ± sample standard deviation over n runs; {told}."
    name = file_name(slug("_".join([*rows, "by", cols, metric, str(shared.get("dataset", ""))]).strip("_")))
    warned = [SMOKE] * any(record.budget == "smoke" for record in records)
    warned += [CONTRIBUTIONS] * any(map(_is_contributed, records))
    warned += _unseen([chain(*across.values()) for across in groups.values()], [*rows, cols])
    return Table(name, [what, *warned], pd.DataFrame(cells), pd.DataFrame(values))


def _is_contributed(record: RunRecord) -> bool:
    return CONTRIBUTED in record.environment


def _title(key: str, record: RunRecord) -> str:
    value = getattr(record, TITLES[key]) if key in TITLES else value_of(key, record)
    return "default" if value is None else word(value)


def _place(record: RunRecord, keys: Sequence[str]) -> list[Any]:
    """Where a row or column stands: methods and rules in their order, numbers by size, else by name."""
    places: list[Any] = []
    for key in keys:
        value = record.imbalance_factor if key == "imbalance" else value_of(key, record)
        order = order_of(key, getattr(record, TITLES[key]), getattr(record, f"{key}_order")) if key in TITLES else 0
        number = float(value) if isinstance(value, (int, float)) else float("inf")
        places += [order, number, _title(key, record)]
    return places


def _require_alike(records: Sequence[RunRecord], axes: Sequence[str]) -> None:
    unknown = [key for key in axes if all(value_of(key, record) is None for record in records)]
    if unknown:
        raise UsageError(
            f"no run has {unknown[0]}: --rows and --cols take {', '.join(FIELDS)} and settings, such as train.lr"
        )
    measured = {key for record in records for key in record.settings if key.partition(".")[0] in GROUPS}
    conditions = sorted(key for key in measured if key.partition(".")[0] not in axes and key != "imbalance.factor")
    for key in [*APART, *conditions]:
        found = sorted({word(value_of(key, record)) for record in records})
        if key not in axes and len(found) > 1:
            raise UsageError(
                f"runs of several values of {key} ({', '.join(found)}) would share cells or be compared unseen: "
                f"add --where {key}={found[0]}, or {key} to --rows or --cols"
            )


def _require_one_setting(
    groups: dict[tuple[Any, ...], dict[Any, list[RunRecord]]], rows: Sequence[str], cols: str
) -> None:
    for names, across in groups.items():
        for head, runs in across.items():
            if len({run.setting_id for run in runs}) > 1:
                keys = differing(runs) or ["setting_id"]
                raise UsageError(
                    f"{' / '.join(names)} with {cols}={head} has runs of several settings, which differ in "
                    f"{', '.join(keys)}: add one of these to --rows, or name a value with --where"
                )


def _epochs(
    groups: dict[tuple[Any, ...], dict[Any, list[RunRecord]]], axes: Sequence[str]
) -> dict[tuple[Any, ...], dict[str, str]]:
    """A cell with the epochs of each row's runs, where rows differ in them and no axis shows them."""
    found = {
        names: ", ".join(dict.fromkeys(epochs_of(run.settings) for run in chain(*across.values())))
        for names, across in groups.items()
    }
    differ = len(set(found.values())) > 1 and not {*axes} & {*EPOCHS}
    return {names: {"epochs": text} for names, text in found.items()} if differ else {}


def _models(across: dict[Any, list[RunRecord]], head: Any) -> list[list[RunRecord]]:
    return models(across.get(head, []), lambda run: run)


def _mean(draws: Sequence[RunRecord], metric: str) -> float:
    """The mean of a metric over the draws of one model; NaN where one does not have it."""
    return float(pd.Series([one.metrics.get(metric) for one in draws], dtype=float).mean(skipna=False))


def differing(runs: Iterable[RunRecord]) -> list[str]:
    """The settings in which runs differ."""
    every = [run.settings for run in runs]
    return sorted(key for key in {*chain(*every)} - {SHOT_SEED} if len({word(one.get(key)) for one in every}) > 1)


def _unseen(rows: Iterable[Iterable[RunRecord]], axes: Sequence[str]) -> list[str]:
    """A line on the settings in which cells of a row differ although no axis shows them; none where there are none."""
    found = sorted({key for runs in rows for key in differing(runs) if not {key, key.partition(".")[0]} & {*axes}})
    more = [f"{len(found) - MOST_UNSEEN} more"] * (len(found) > MOST_UNSEEN)
    said = ", ".join([*found[:MOST_UNSEEN], *more])
    return [f"Cells of a row differ in {said} as well, which no axis shows."] if found else []

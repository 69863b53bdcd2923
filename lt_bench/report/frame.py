"""The frame: one row per record, from which every table is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pandas as pd

from lt_bench.evaluation.metrics import scalars
from lt_bench.record.conditions import epochs_of
from lt_bench.record.order import order_of
from lt_bench.record.record import CONTRIBUTED, SHOT_SEED, RunRecord
from lt_bench.report.test_error import tested

COST = ["seconds", "images_per_second", "peak_memory_mb", "device", "stage_one_seconds"]
PARTS = ("train", "test")
ORDER = ["dataset", "imbalance_factor", "method_name", "stage_two_name", "setting_id"]
ORDER += ["split_seed", "seed", "shot_seed", "run_id"]


def _row(record: RunRecord, order: Callable[[str, str, int | None], float], names: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {**vars(record)}  # none of the parts that it shares with the record is changed
    metrics, cost = values.pop("metrics"), values.pop("cost")
    environment = values.pop("environment")
    values["processes"] = environment.get("processes", 1)
    values["contributed"] = environment.get(CONTRIBUTED, {}).get("by")
    values["checked"] = environment.get(CONTRIBUTED, {}).get("checked")
    values["epochs"] = epochs_of(record.settings)
    values["probe"] = record.is_probe
    settings = {**record.settings}
    values["shot_seed"] = settings.pop(SHOT_SEED, 0)
    values["settings"] = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    values["method_order"] = order("method", record.method_name, record.method_order)
    values["stage_two_order"] = order("stage_two", record.stage_two_name, record.stage_two_order)
    values |= {f"{part}_images": sum(counts) for part in PARTS if (counts := metrics.get(f"{part}_counts"))}
    values |= tested(metrics, record.group_rule)
    values["classes"] = len(metrics.get("train_counts", ())) or None
    return values | {key: metrics.get(key) for key in names} | {key: cost.get(key) for key in COST}


def frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Every record as a row, in an order that depends on the records alone.

    Columns: the record's fields less lists, its ``epochs`` as text, and of its environment the number of
    ``processes``; ``settings`` as JSON text, less the seed of a few-shot probe, which is ``shot_seed`` (0 for others);
    ``probe``, whether it is one; metrics that are one number, NaN where they are not known, as are ``train_images``,
    ``test_images`` and ``classes``; the images that an accuracy is of, as ``test_error.column`` names them;
    by whom a run was ``contributed`` and by what it was ``checked``, None for others;
    the native imbalance factor is NaN; orders of method and rule, infinite if unknown.
    """
    order = cache(order_of)  # which asks each time whether there are choices of one's own
    names = scalars()
    rows = pd.DataFrame([_row(record, order, names) for record in records])
    if rows.empty:
        return rows
    images = [f"{part}_images" for part in PARTS]
    rows = rows.reindex(columns=dict.fromkeys([*rows.columns, *images]))
    numbers = dict.fromkeys(["imbalance_factor", *images, "classes", *names], float)
    # texts, and names of columns, as Python's own: pandas may hold them in a form that is slow to take single ones of
    rows.columns = rows.columns.astype(object)
    texts = {column: object for column in rows.columns if isinstance(rows[column].dtype, pd.StringDtype)}
    return rows.astype(numbers | texts).sort_values(ORDER, ignore_index=True)

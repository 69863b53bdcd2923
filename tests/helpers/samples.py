"""Synthetic records for the tests of records and reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lt_bench.evaluation.metrics import group_std
from lt_bench.evaluation.predictions import LOGITS, Predictions
from lt_bench.record.record import RunRecord

GROUPS = ("many", "medium", "few")


def metrics(top1: float = 0.5, groups: tuple[float | None, ...] = (0.7, 0.5, 0.3), ece: float = 0.1) -> dict[str, Any]:
    lists = {"per_class_accuracy": [top1, None], "test_counts": [10, 0], "train_counts": [100, 5]}
    named = dict(zip(GROUPS, groups, strict=True))
    return {"top1": top1, "top5": None, "macro": top1, "ece": ece, **named, "group_std": group_std(**named), **lists}


def predictions(
    logits: np.ndarray, labels: Sequence[int] | np.ndarray, counts: Sequence[int] | np.ndarray, rule: str = "thirds"
) -> Predictions:
    return Predictions(
        logits_by_name={LOGITS: logits}, labels=np.array(labels), train_counts=np.array(counts), group_rule=rule
    )


def sample(**changes: Any) -> RunRecord:
    """A valid record; its run id follows from setting and seeds unless given."""
    values: dict[str, Any] = {
        "kind": "run",
        "stage_one_id": "0123456789ab",
        "setting_id": "sbcl_cb",
        "method": "sbcl",
        "method_name": "SBCL",
        "dataset": "digits_lt",
        "imbalance_profile": "exponential",
        "imbalance_factor": 20.0,
        "backbone": "tiny",
        "stage_two": "cb",
        "stage_two_name": "CB",
        "fidelity": "clean",
        "budget": "paper",
        "seed": 0,
        "split_seed": 0,
        "settings": {"method": "sbcl"},
        "metrics": metrics(),
        "group_rule": "thirds",
        "selection": "last",
        "evaluated_on": "test",
        "cost": {"seconds": 1.5, "device": "cpu"},
        "environment": {"lt_bench": "0.1.0"},
    } | changes
    run_id = f"{values['setting_id']}-{values['split_seed']}-{values['seed']}"
    return RunRecord(**({"run_id": run_id} | values))


def runs(points: list[tuple[float, float]], splits: int = 1, **changes: Any) -> list[RunRecord]:
    """One run per (top1, few), the split seeds taking turns."""
    return [
        sample(seed=i // splits, split_seed=i % splits, metrics=metrics(top1, (0.75, top1, few), 1 - top1), **changes)
        for i, (top1, few) in enumerate(points)
    ]

"""Synthetic studies for the tests of figures: rows of runs, with predictions where a folder is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from helpers.samples import predictions, sample
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.figures.studies import Row, Run, Study
from lt_bench.files import write_json
from lt_bench.record.record import PREDICTIONS


def long_tail(classes: int, largest: int = 500, factor: float = 100) -> np.ndarray:
    """Exponential class counts (C,)."""
    return np.round(largest * factor ** -(np.arange(classes) / max(1, classes - 1))).astype(int).clip(1)


def run(
    classes: int = 10, seed: int = 0, folder: Path | None = None, per_class: int = 4, untested: int = 0, **changes: Any
) -> Run:
    """A run whose accuracy falls from head to tail; its last ``untested`` classes have no test image."""
    random = np.random.RandomState(seed)
    labels = np.repeat(np.arange(classes - untested), per_class)
    logits = random.randn(len(labels), classes).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 4 - 3 * labels / classes
    made = predictions(logits, labels, long_tail(classes), "count_100_20")
    record = sample(seed=seed, metrics=evaluate(made), group_rule="count_100_20", **changes)
    if folder is not None:
        folder.mkdir(parents=True)
        write_json(folder / "record.json", record.to_dict())
        save_predictions(folder / PREDICTIONS, made)
    return Run(record, folder)


def study(rows: int = 3, seeds: int = 3, folder: Path | None = None, **options: Any) -> Study:
    """Rows named METHOD 0, METHOD 1, ... of so many seeds each."""
    made = []
    for number in range(rows):
        name = {"setting_id": f"s{number}", "method_name": f"METHOD {number}", "seed": 0} | options
        runs = []
        for seed in range(seeds):
            place = None if folder is None else folder / f"s{number}-0-{seed}"
            runs.append(run(**{**name, "seed": seed, "folder": place}))
        made.append(Row(f"METHOD {number} / CB", tuple(runs)))
    return Study("digits_lt_if20", "Digits-LT, imbalance factor 20, test images", tuple(made))

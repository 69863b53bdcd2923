"""Folders of synthetic runs with predictions and curves, for the tests of the page, and the page of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.studies import run
from lt_bench.record.curves import CURVES, SCORE
from lt_bench.report.__main__ import main

# what published results of BCL on CIFAR-100-LT are of
CLASSES = {"method._target_": "lt_bench.methods.bcl.BCL", "dataset._target_": "lt_bench.data.sources.cifar.load"}


def write_run(root: Path, name: str, epochs: int = 12, seed: int = 0, **changes: Any) -> None:
    """A run of two stages in a folder of its own, under its name as run id."""
    values = {"run_id": name, "setting_id": name, "stage_one_id": None, "seed": seed} | changes
    values.setdefault("epochs", {"chosen": {"train": {"epoch": epochs - 2, "score": 0.5, "on": "validation"}}})
    run(folder=root / name, **values)
    rows = [
        {"stage": stage, "epoch": epoch, "loss": 2.0 / (1 + epoch + seed), "lr": 0.1, SCORE: epoch / (1 + epochs)}
        for stage in ("stage one", "stage two")
        for epoch in range(epochs)
    ]
    (root / name / CURVES).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def write_runs(root: Path) -> Path:
    """Three rows on digits of three seeds each, two of them on a shared stage one, and one row on CIFAR-100."""
    for number, (method, rule) in enumerate((("CE", "–"), ("CE", "CB"), ("SBCL", "CB"))):
        for seed in range(3):
            setting = {"setting_id": f"s{number}", "method_name": method, "stage_two_name": rule}
            below = f"one{seed}" if method == "CE" else None
            name = f"s{number}-{seed}"
            write_run(root, name, seed=seed, stage_one_id=below, per_class=4 + number, **setting)
    of_paper = {"method": "bcl", "method_name": "BCL", "dataset": "cifar100_lt", "imbalance_factor": 100.0}
    of_paper |= {"stage_two": "none", "stage_two_name": "–", "backbone": "resnet32_cifar", "classes": 100}
    write_run(root, "bcl-0", settings={**CLASSES, "train.epochs": 200, "train.lr": 0.1}, **of_paper)
    return root


def page_of(*words: str | Path, place: Path) -> str:
    """The page that the command makes."""
    assert main(["page", "--runs", *map(str, words), "--out", str(place)]) == 0
    return place.read_text(encoding="utf-8")

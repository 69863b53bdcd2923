"""Runs of the whole chain in this process, for tests: tiny configs, and runs that are killed after some steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lt_bench.compose import compose
from lt_bench.config import Config
from lt_bench.engine.loop import Trainer
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.preflight import settle
from lt_bench.record.record import RunRecord
from lt_bench.run import execute

# A few epochs of two steps; SBCL warms up for one epoch and clusters in each of the others.
TINY = ("budget.epoch_scale=0.02", "budget.max_steps_per_epoch=2", "budget.name=smoke", "progress=false")


def tiny(output_dir: Path, *words: str) -> Config:
    """A settled config of seconds."""
    return settle(compose([*TINY, f"output_dir={output_dir}", *words]))


class Killed(BaseException):
    """Stands for kill -9: nothing of the engine may catch it."""


def kill_after(monkeypatch: Any, steps: int) -> None:
    """Let every attempt take ``steps`` steps and then die, before the last of them can be saved."""
    taken = 0
    step = Trainer._step

    def counted(self: Trainer, *words: Any) -> dict[str, torch.Tensor]:
        nonlocal taken
        terms = step(self, *words)
        taken += 1
        if taken == steps:
            raise Killed
        return terms

    monkeypatch.setattr(Trainer, "_step", counted)


def results(record: RunRecord, folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions: record, predictions and the weights of both stages."""
    assert record.stage_one_id
    below = folder.parent / record.stage_one_id
    found: dict[str, Any] = {
        "record": record.decisive(),
        "predictions": load_predictions(folder / "predictions.npz").logits,
    }
    for name, path in (("stage one", below), ("stage two", folder)):
        if (path / "checkpoint.pt").exists():
            state = torch.load(path / "checkpoint.pt", weights_only=True)
            found[name] = {**state["model"], "position": (state["position"]["epoch"], state["position"]["step"])}
    return found


def assert_identical(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Bit for bit."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, right[name]), name
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, right[name])
        elif name.startswith("stage"):
            assert_identical(value, right[name])
        else:
            assert value == right[name], name


__all__ = ["TINY", "Killed", "assert_identical", "execute", "kill_after", "results", "tiny"]

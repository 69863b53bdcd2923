"""Running sums on the device, and metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_bench.errors import NonFiniteLoss
from lt_bench.files import read_text, write_atomic, writing


class RunningMeans:
    """Means of a step's terms over an epoch, and the first step with a non-finite loss, without host reads."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.clear()

    def clear(self) -> None:
        """Begin a new epoch."""
        self.totals: dict[str, Tensor] = {}
        self.steps = 0
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=self.device)

    def add(self, terms: dict[str, Tensor], step: int) -> None:
        """Add one step's scalar terms, among them "loss"."""
        bad = ~torch.isfinite(terms["loss"].detach()) & (self.first_bad < 0)
        self.first_bad = torch.where(bad, step, self.first_bad)
        for name, value in terms.items():
            self.totals[name] = value.detach() + self.totals[name] if name in self.totals else value.detach()
        self.steps += 1

    def check(self, epoch: int) -> None:
        """Read the flag (a host read); raises NonFiniteLoss."""
        step = int(self.first_bad)
        if step >= 0:
            raise NonFiniteLoss(f"the loss was not finite at epoch {epoch}, step {step}; {NonFiniteLoss.advice}")

    def means(self) -> dict[str, float]:
        """Means so far (host reads)."""
        return {name: float(total) / max(self.steps, 1) for name, total in self.totals.items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint inside an epoch needs."""
        return {"totals": self.totals, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state()``; raises KeyError, TypeError or ValueError for what is none."""
        totals, steps = dict(state["totals"]), int(state["steps"])
        if not all(isinstance(total, Tensor) and not total.dim() for total in totals.values()) or steps < 0:
            raise ValueError("its means are no sums of numbers")
        self.totals, self.steps = totals, steps


class MetricsFile:
    """One JSON line per epoch; lines of epochs that are trained again after a resume are dropped."""

    def __init__(self, path: Path, stage: str, first_epoch: int, writes: bool = True) -> None:
        self.path, self.stage, self.writes = path, stage, writes
        if writes and path.exists():
            rows = [json.loads(line) for line in read_text(path).splitlines() if _whole(line)]
            kept = [row for row in rows if row["stage"] != stage or row["epoch"] < first_epoch]
            write_atomic(path, "".join(f"{json.dumps(row)}\n" for row in kept))

    def write(self, epoch: int, values: dict[str, float]) -> None:
        """Append an epoch's values (only the process that writes); raises NotWritten."""
        if not self.writes:
            return
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": self.stage, "epoch": epoch, **values}) + "\n")


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:  # the process was killed while writing
        return False
    return True

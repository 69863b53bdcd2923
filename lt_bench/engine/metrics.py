"""Running sums on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_bench.errors import NonFiniteLoss


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

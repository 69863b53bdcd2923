"""The losses of the golden file mixing_losses: three sets of logits, labels and counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.golden_vectors import golden

CASES = ("a", "b", "c")  # in b all labels are the same, in c logits are as large as 25
PRECISIONS = (torch.float64, torch.float32)


def compare(
    case: str, name: str, dtype: torch.dtype, loss: Callable[[Tensor, Tensor], Tensor], inputs: str = "logits"
) -> None:
    """Compare a loss of logits (or other inputs) and labels, and its gradient, with what a set stores of it."""
    if case == "c" and dtype == torch.float32:
        return  # large logits are compared in double precision only
    stored = golden("mixing_losses")
    logits = stored[f"{case}__{inputs}"].to(dtype).requires_grad_()
    found = loss(logits, stored[f"{case}__labels"])
    (gradient,) = torch.autograd.grad(found, logits)
    ending, exact = ("loss", {"rtol": 1e-8, "atol": 1e-12}), {"rtol": 1e-5, "atol": 2e-6}
    if dtype == torch.float32:
        ending, exact = ("loss_f32", {"rtol": 2e-4, "atol": 1e-5}), {"rtol": 2e-4, "atol": 1e-5}
    torch.testing.assert_close(found.detach(), stored[f"{case}__{name}__{ending[0]}"].to(dtype), **ending[1])
    torch.testing.assert_close(gradient, stored[f"{case}__{name}__grad"].to(dtype), **exact)

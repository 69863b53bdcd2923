"""Golden vectors and the tolerances that belong to them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "golden"
DOUBLE = {"rtol": 1e-5, "atol": 1e-6}  # an implementation run in double precision
SINGLE = {"rtol": 1e-4, "atol": 1e-5}  # in single precision
DOUBLE_LOSS = {"rtol": 1e-6, "atol": 0.0}
PRECISIONS = [(torch.float64, DOUBLE), (torch.float32, SINGLE)]


def golden(file: str, case: str = "") -> dict[str, Tensor]:
    """All arrays of a file whose names begin with ``<case>_``, without that beginning; text is left out."""
    beginning = f"{case}_" if case else ""
    with np.load(FOLDER / f"{file}.npz") as arrays:
        found = {name.removeprefix(beginning): arrays[name] for name in arrays.files if name.startswith(beginning)}
    return {name: torch.from_numpy(np.asarray(array)) for name, array in found.items() if array.dtype.kind != "U"}


def assert_loss_and_gradient(
    loss: Tensor, inputs: Tensor, case: dict[str, Tensor], tolerance: dict[str, float]
) -> None:
    """Compare a scalar loss and its gradient with ``loss``, ``loss_f32`` and ``grad`` of a case."""
    (gradient,) = torch.autograd.grad(loss, inputs)
    double = loss.dtype == torch.float64
    expected = case["loss"] if double else case["loss_f32"]
    torch.testing.assert_close(loss.detach(), expected, **(DOUBLE_LOSS if double else tolerance))
    torch.testing.assert_close(gradient, case["grad"].to(gradient.dtype), **tolerance)

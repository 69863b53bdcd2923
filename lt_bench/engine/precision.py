"""Reduced precision, and PyTorch's switches for TF32 and for deterministic kernels."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from torch import Tensor

from lt_bench.errors import SettingError

TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
log = logging.getLogger(__name__)


def resolve(precision: str, device: torch.device) -> str:
    """The precision a device computes in: "auto" is bf16, else fp16, on CUDA and float32 on a CPU.

    Warns of bf16 on a CPU without instructions for it; raises SettingError for fp16 on a CPU.
    """
    cuda = device.type == "cuda"
    if precision == "auto":
        return ("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16") if cuda else "float32"
    if precision == "fp16" and not cuda:
        raise SettingError("precision", "auto, float32 or bf16 without a CUDA device", precision, "float32")
    if precision == "bf16" and not cuda and not _cpu_has_bf16():
        log.warning("precision=bf16 is many times slower than float32 on this CPU, which has no instructions for it")
    return precision


def _cpu_has_bf16() -> bool:
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


class Precision:
    """Forward passes under autocast, and for fp16 a loss scale, whose state is the checkpoint's.

    Parameters, their gradients and the optimiser stay in float32; so does all that the engine embeds or evaluates.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> torch.autocast:
        """Context of a forward pass and its loss; nothing happens in it for float32."""
        return torch.autocast(self.device.type, TYPES[self.name], enabled=self.name != "float32")

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled for fp16."""
        self.scaler.scale(loss).backward()

    def clip(self, optimizer: torch.optim.Optimizer, largest: float) -> Tensor:
        """Scale all gradients together down to a norm of ``largest`` where it is larger; the norm () as it was.

        Gradients are unscaled first. Where fp16 overflowed, the step is left out and the norm is given as 0.
        """
        self.scaler.unscale_(optimizer)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, largest)
        return torch.where(norm.isfinite(), norm, 0.0) if self.scaler.is_enabled() else norm

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One step on the unscaled gradients, left out where fp16 overflowed; then the scale follows."""
        self.scaler.step(optimizer)
        self.scaler.update()

    def state(self) -> dict[str, Any]:
        """Scale and growth tracker; empty but for fp16."""
        return self.scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state()``."""
        if state:
            self.scaler.load_state_dict(state)


def set_switches(tf32: bool | None, deterministic: bool) -> None:
    """TF32 in convolutions and matrix products (None: PyTorch's defaults, convolutions only), deterministic kernels."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32 is not False
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first use
    torch.use_deterministic_algorithms(deterministic)

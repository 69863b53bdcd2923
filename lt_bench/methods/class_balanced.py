"""The class-balanced loss: cross-entropy weighted by the effective number of images of each class."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.methods.ce_drw import CEDRW


class ClassBalanced(CEDRW):
    """Cui et al., CVPR 2019, softmax form, as «Reweight» of the LDAM-DRW authors' code: weights from epoch 0 on."""

    begins_at: ClassVar[tuple[str, ...]] = ()

    def __init__(self, encoder: nn.Module, info: TrainInfo, *, beta: float = 0.9999, **common: Any) -> None:
        super().__init__(encoder, info, beta=beta, drw_start_epoch=0, **common)

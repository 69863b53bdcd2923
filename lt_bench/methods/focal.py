"""SimCLR with the focal loss."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.focal import focal_nt_xent
from lt_bench.methods.simclr import SimCLR


class Focal(SimCLR):
    """The focal baseline of GH (Zhou et al., NeurIPS 2023): ``SimCLR`` with its options, and Lin et al.'s weight.

    Raises SettingError for a negative ``gamma``.
    """

    def __init__(self, encoder: nn.Module, info: TrainInfo, *, gamma: float = 2.0, **options: Any) -> None:
        super().__init__(encoder, info, **options)
        if not gamma >= 0:
            raise SettingError("gamma", "0 or more", gamma, 2)
        self.gamma = gamma

    def image_losses(self, first: Tensor, second: Tensor) -> Tensor:
        """The focal contrastive loss of every image, (B,), from the embeddings (B, D) of all ranks' views."""
        return focal_nt_xent(first, second, self.temperature, self.gamma)

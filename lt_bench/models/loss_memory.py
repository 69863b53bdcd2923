"""A running loss for every training image, and the weights that boosted contrastive learning draws from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError


def boost_weights(memory: Tensor, seen: Tensor) -> Tensor:
    """1/2 + 1/2 (L - mean L) / max |L - mean L|: in [0, 1], mean 1/2, and 1/2 where all losses are equal.

    Shapes: losses ``memory`` (N,), of which those count that are ``seen`` (N,) bool; the others have 1/2; returns (N,).
    Source: Zhou et al., ICML 2022 (boosted contrastive learning), authors' code, less its division by the standard
    deviation, which cancels.  Deviation: defined where all losses are equal.
    """
    lowest = torch.where(seen, memory, math.inf).amin()
    above = torch.where(seen, memory - lowest, 0.0)  # equal losses have a mean that is exactly theirs
    deviation = torch.where(seen, above - above.sum() / seen.sum().clamp(min=1), 0.0)
    return 0.5 + 0.5 * deviation / deviation.abs().amax().clamp(min=torch.finfo(memory.dtype).tiny)


class LossMemory(nn.Module):
    """An exponential mean of each image's loss, (N,), and the weights (N,) that were taken from it last.

    The first loss of an image is taken as it is; before the first ``renew_weights`` all weights are 0. With
    ``batch_correction`` log(2B - 1) is subtracted from the losses of a batch of B images: an NT-Xent grows like it with
    the number of candidates, so that without, the images of a last, smaller batch look easy.
    Source: Zhou et al., ICML 2022, authors' code (without the correction).  Deviation: the code takes an image's loss
    as it is in the first epoch, which is the same where that visits every image.
    Raises SettingError for a momentum outside [0, 1).
    """

    losses: Tensor
    seen: Tensor
    weights: Tensor

    def __init__(self, count: int, momentum: float, batch_correction: bool) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise SettingError("momentum", "at least 0 and below 1", momentum, 0.97)
        self.momentum, self.batch_correction = momentum, batch_correction
        self.register_buffer("losses", torch.zeros(count))
        self.register_buffer("seen", torch.zeros(count, dtype=torch.bool))
        self.register_buffer("weights", torch.zeros(count))

    def update(self, indices: Tensor, losses: Tensor) -> None:
        """Take in the losses (B,) of the images at ``indices`` (B,), those of all ranks."""
        losses = losses.to(self.losses.dtype)
        if self.batch_correction:
            losses = losses - math.log(2 * len(losses) - 1)
        known = torch.lerp(losses, self.losses[indices], self.momentum)
        self.losses.index_copy_(0, indices, torch.where(self.seen[indices], known, losses))
        self.seen.index_fill_(0, indices, True)

    def renew_weights(self) -> None:
        """Take new weights from the losses."""
        self.weights.copy_(boost_weights(self.losses, self.seen))

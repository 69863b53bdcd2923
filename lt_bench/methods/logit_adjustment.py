"""The logit-adjusted loss: cross-entropy with ``tau`` times the log prior added to the logits while training."""

from __future__ import annotations

from lt_bench.methods.balanced_softmax import BalancedSoftmax


class LogitAdjustment(BalancedSoftmax):
    """Menon et al., ICLR 2021, eq. (10); Balanced Softmax has the same loss with a ``tau`` of 1.

    Its other half, which adjusts trained logits, is the stage-two rule ``logit_adjustment``.
    """

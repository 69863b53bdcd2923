"""The loss of weight balancing (Alshammari et al., CVPR 2022): one binary cross-entropy for every class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.losses.cross_entropy import at_least_float32


def balanced_binary_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over images and classes of w * BCE(p, one-hot), p the softmax and w the weight of the image's class.

    As a mean over B x C entries it is about 1 / C of a cross-entropy.
    Shapes: logits (B, C), labels (B,), weights (C,); returns a scalar, at least float32.
    Source: Alshammari et al., CVPR 2022, authors' code.  Deviation: log(1 - p) is taken from the other logits where p
    is the largest of a row, and no logarithm is cut at -100.
    """
    logits = at_least_float32(logits)
    log_p = F.log_softmax(logits, dim=1)
    classes = torch.arange(logits.shape[1], device=logits.device)  # compared, as F.one_hot reads on the host
    own, largest = classes == labels[:, None], classes == logits.argmax(1, keepdim=True)
    others = log_p.masked_fill(largest, -torch.inf).logsumexp(1, keepdim=True)
    log_rest = torch.where(largest, others, torch.log1p(-log_p.exp().masked_fill(largest, 0.0)))
    entries = -torch.where(own, log_p, log_rest).mean(1)
    return (weights.to(entries.dtype)[labels] * entries).mean()

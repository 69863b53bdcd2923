"""A ring of past embeddings with their labels."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError

QueueInit = Literal["masked", "random", "official"]


class LabelledQueue(nn.Module):
    """The last ``size`` embeddings with their labels; all of it is in the state, and nothing is read by the host.

    ``masked``: an entry has label -1 until it is written. ``official``: PaCo's authors' code, where the entries are
    noise, normalised along the queue instead of along the width, with random labels, taken for data until they are
    overwritten. ``random``: MoCo's, where the entries are random unit vectors with label -1, negatives of everything;
    in ``parts`` of one length each, side by side, where a row holds the embeddings of several networks.
    Raises SettingError for a size below 1 and another ``init``.
    """

    rows: Tensor
    labels: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int, num_classes: int, init: QueueInit = "masked", parts: int = 1) -> None:
        super().__init__()
        if size < 1:
            raise SettingError("size", "at least one entry", size, 1024)
        if init not in get_args(QueueInit):
            raise SettingError("init", "masked, random or official", init, "masked")
        rows, labels = torch.zeros(size, dim), torch.full((size,), -1)
        if init == "random":
            rows = F.normalize(torch.randn(size, parts, dim // parts), dim=2).flatten(1)
        elif init == "official":
            rows, labels = F.normalize(torch.randn(size, dim), dim=0), torch.randint(num_classes, (size,))
        self.register_buffer("rows", rows)
        self.register_buffer("labels", labels)
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, rows: Tensor, labels: Tensor) -> None:
        """Overwrite the oldest entries, going round at the end; of more rows than there are entries, the last stay.

        Shapes: rows (n, D), labels (n,). Copy what is still needed of ``rows`` and ``labels`` before.
        """
        size, count = len(self.rows), len(rows)
        kept = slice(max(0, count - size), None)
        places = (self.pointer + torch.arange(count, device=rows.device)[kept]) % size
        self.rows.index_copy_(0, places, rows[kept].to(self.rows.dtype))
        self.labels.index_copy_(0, places, labels[kept])
        self.pointer.add_(count).remainder_(size)

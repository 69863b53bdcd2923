"""Checkpoints, sealed and of an older version without a seal."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import cache

import torch
from hypothesis import strategies as st

from lt_bench.engine import checkpoint
from lt_bench.errors import CheckpointError
from tests.fuzz.contract import Reader
from tests.fuzz.folders import Content, content, laid
from tests.helpers.samples import sample

EMPTY = {"model": {"w": torch.zeros(2)}, "position": {"epoch": 1, "step": 0, "best": None}, "threads": 1}


@cache
def _valid() -> dict[str, bytes]:
    stream = io.BytesIO()
    torch.save(EMPTY, stream)
    with laid({}) as folder:
        checkpoint.save(folder / checkpoint.CHECKPOINT, EMPTY)
        return {"sealed": (folder / checkpoint.CHECKPOINT).read_bytes(), "older": stream.getvalue()}


def read(one: Content) -> None:
    """Read a checkpoint to go on from, and as that of a record."""
    with laid({checkpoint.CHECKPOINT: one}) as folder:
        device = torch.device("cpu")
        for load in (
            lambda: checkpoint.load_last_good(folder / checkpoint.CHECKPOINT, device),
            lambda: checkpoint.load_recorded(folder, sample(), 1, device),
        ):
            with suppress(CheckpointError):
                load()


READERS = {
    "checkpoints": Reader(st.deferred(lambda: st.one_of(*map(content, _valid().values()))), read, (CheckpointError,))
}

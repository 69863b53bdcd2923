"""Checkpoints that are whole and say something else than a training of this run would: they are refused, or go on."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import nn

from lt_bench.contracts import Batch, Method, TrainContext
from lt_bench.engine import checkpoint
from lt_bench.engine.loop import Trainer
from lt_bench.errors import CheckpointError, NonFiniteLoss
from tests.fuzz.contract import Reader
from tests.helpers.engine_parts import Constant, Noisy, Vectors, one_process, stage, training

EPOCHS = 2
DEEP = ("position", "model", "means", "average")  # a training checks what is in these; of others, that they are there


class Plain(Method):
    """A classifier of vectors."""

    views = ("plain",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.classifier = Vectors(), nn.Linear(8, 3)

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, torch.Tensor]:
        """Mean cross-entropy."""
        return {"loss": nn.functional.cross_entropy(self.classifier(self.encoder(batch.views[0])), batch.labels)}


class Change(NamedTuple):
    """One change of a checkpoint: where, and what is done there."""

    place: int
    what: str
    value: Any


values = st.one_of(
    st.sampled_from([None, True, -1, 0, 1, 7, 10**30, 0.5, float("nan"), float("inf"), "", "text"]),
    st.sampled_from([[], {}, [1], {"a": 1}, (), {3: None}]),
    st.sampled_from([torch.zeros(()), torch.zeros(3), torch.full((3, 8), torch.nan), torch.zeros(3, dtype=torch.int8)]),
)
changes = st.builds(
    Change, place=st.integers(0, 60), what=st.sampled_from(["replace", "replace", "rename", "take out"]), value=values
)


def trainer(folder: Path) -> Trainer:
    """Of the training whose checkpoints are changed."""
    settings = training(EPOCHS, 8, momentum=0.9, name="sgd")
    settings.ema_decay = 0.9
    source = Noisy()
    return Trainer(Plain(), source, settings, Constant(0.1), one_process(source), stage(folder, every_steps=1))


@cache
def _valid() -> tuple[dict[str, Any], ...]:
    """A checkpoint inside an epoch, and the last one."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        one = trainer(Path(folder) / "run")
        one.fit()
        for path in (one.stage.checkpoint, checkpoint.previous(one.stage.checkpoint)):
            found.append(checkpoint.load(path, torch.device("cpu")))
    return tuple(found)


def _places(state: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for key, value in state.items():
        yield state, key
        if key in DEEP and isinstance(value, dict):
            yield from ((value, name) for name in value)


def read(one: tuple[int, list[Change]]) -> None:
    """Go on with a training from a checkpoint after some changes."""
    number, changed = one
    state = copy.deepcopy(_valid()[number])
    for change in changed:
        places = [*_places(state)]
        if not places:
            break
        inside, key = places[change.place % len(places)]
        value = inside.pop(key)
        if change.what != "take out":
            inside["another" if change.what == "rename" else key] = value if change.what == "rename" else change.value
    with tempfile.TemporaryDirectory() as folder:
        again = trainer(Path(folder) / "run")
        checkpoint.save(again.stage.checkpoint, state)
        checkpoint.threads(again.stage.checkpoint)
        try:
            ended = again.fit()
        except CheckpointError as error:
            said = str(error)
            assert said.startswith(f"{again.stage.checkpoint} ") and "to start anew" in said and "\n" not in said, said
            raise
    assert (ended.epoch, ended.step) == (EPOCHS, 0)


READERS = {
    "trainings": Reader(
        st.tuples(st.sampled_from([0, 1]), st.lists(changes, max_size=2)), read, (CheckpointError, NonFiniteLoss)
    )
}

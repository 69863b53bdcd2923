"""Files of weights: valid ones of many forms with bytes, names, shapes, kinds and nesting changed."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.prefixes import tensors_in
from lt_bench.models.pretrained import load_pretrained
from tests.fuzz.contract import Reader

FORMATS = ("zip", "legacy", "safetensors")
SUFFIXES = (".pth", ".bin", ".safetensors", ".index", "")


class Small(nn.Module):
    """An encoder of a few tensors, so that damage finds all parts of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.layers = nn.Sequential(nn.BatchNorm2d(2))


class Weights(NamedTuple):
    """A file and how it is asked for: changes of its state, its format and protocol, damage, the words beside it."""

    changes: list[tuple[str, int, Any]]
    format: str
    protocol: int
    damage: list[tuple[int, bytes]]
    length: int
    suffix: str
    prefix: str | None
    partial: bool


words = st.sampled_from(
    ["", ".", "module", "encoder_q", "encoder_k", "backbone", "teacher", "student", "state_dict", "0", "layers", "conv",
     "weight", "_orig_mod", "conv.weight", "\n", "\ud800", "a" * 300]
)  # fmt: skip
others = st.sampled_from([None, True, 7, 10**30, 0.5, "text", (), [1], {}, {3: torch.zeros(1)}, {"a": {"b": {}}}])
kinds = st.sampled_from(
    [torch.float16, torch.float64, torch.bfloat16, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
CHANGES: dict[str, Callable[[Tensor, Any], Any]] = {
    "shape": lambda tensor, value: torch.zeros(value),
    "kind": lambda tensor, value: tensor.to(value),
    "value": lambda tensor, value: torch.full_like(tensor, value),
    "other": lambda tensor, value: value,
    "sparse": lambda tensor, value: tensor.to_sparse() if tensor.dim() else tensor,
    "meta": lambda tensor, value: tensor.to("meta"),
    "nest": lambda tensor, value: {value: tensor},
}
changes = st.one_of(
    st.tuples(st.sampled_from(["wrap", "prefix", "rename", "beside", "again", "cut"]), st.integers(0, 9), words),
    st.tuples(st.just("shape"), st.integers(0, 9), st.sampled_from([(), (0,), (2,), (2, 3, 1, 1), (1, 2, 3, 4, 5)])),
    st.tuples(st.just("kind"), st.integers(0, 9), kinds),
    st.tuples(st.just("value"), st.integers(0, 9), st.sampled_from([0.0, float("nan"), float("inf"), 1e38])),
    st.tuples(st.just("other"), st.integers(0, 9), others),
    st.tuples(st.sampled_from(["sparse", "meta"]), st.integers(0, 9), st.none()),
    st.tuples(st.just("nest"), st.integers(0, 9), words),
)
inputs = st.builds(
    Weights,
    changes=st.lists(changes, max_size=4),
    format=st.sampled_from(FORMATS),
    protocol=st.sampled_from([2, 2, 2, 3, 4, 5]),
    damage=st.one_of(st.just([]), st.lists(st.tuples(st.integers(0, 6000), st.binary(max_size=4)), max_size=3)),
    length=st.one_of(st.just(10**6), st.integers(0, 6000)),
    suffix=st.sampled_from(SUFFIXES),
    prefix=st.one_of(st.none(), words),
    partial=st.booleans(),
)


@cache
def _valid() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return Small().state_dict()


def changed(changes: list[tuple[str, int, Any]]) -> Any:
    """The state of an encoder after some changes."""
    state: Any = dict(_valid())
    for change, place, value in changes:
        if not isinstance(state, dict) or not state:
            break
        key = [*state][place % len(state)]
        if change == "wrap":
            state = {value: state, "epoch": 3}
        elif change == "prefix":
            state = {f"{value}.{name}": inside for name, inside in state.items()}
        elif change == "rename":
            state[value] = state.pop(key)
        elif change == "beside":
            state |= {f"{value}.{name}": inside for name, inside in _valid().items()}
        elif change == "again":
            state[value] = state
        elif change == "cut":
            del state[key]
        elif isinstance(state[key], Tensor):
            state[key] = CHANGES[change](state[key], value)
    return state


def written(one: Weights) -> bytes:
    """The bytes of a file; empty where its format does not hold what is to be in it."""
    stream = io.BytesIO()
    try:
        state = changed(one.changes)
        if one.format == "safetensors":
            plain = tensors_in(state) if isinstance(state, dict) else {}
            stream.write(to_safetensors({name: tensor.contiguous().clone() for name, tensor in plain.items()}))
        else:
            newer = one.format == "zip"
            torch.save(state, stream, pickle_protocol=one.protocol, _use_new_zipfile_serialization=newer)
    except (ValueError, RuntimeError, TypeError, NotImplementedError, RecursionError):
        return b""
    content = bytearray(stream.getvalue())
    for place, new in one.damage:
        start = place % (len(content) + 1)
        content[start : start + len(new)] = new
    return bytes(content[: one.length])


def read(one: Weights) -> None:
    """Load a file; whatever is loaded is all that was asked for, in finite numbers."""
    network = Small()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"weights{one.suffix}"
        path.write_bytes(written(one))
        try:
            loaded = load_pretrained(network, str(path), "small", one.prefix, one.partial)
        except SettingError as error:
            said = str(error.under("backbone"))
            assert "\n" not in said and "weights_only" not in said and "; set backbone." in said, said
            raise
    assert loaded.tensors == loaded.of or one.partial and loaded.tensors
    assert all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())


READERS = {"weights": Reader(inputs, read, (SettingError,))}

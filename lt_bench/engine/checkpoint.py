"""Checkpoints: plain tensors and builtins, sealed with a checksum, written to a temporary name and renamed.

The file is the ZIP archive of ``torch.save``; the comment of the archive is the checksum of all bytes before it.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_bench.errors import CheckpointError, one_line
from lt_bench.files import check_archive, check_entries, read_bytes, write_atomic
from lt_bench.models.weight_files import objects_in
from lt_bench.record.record import CHECKPOINT, RunRecord

LARGEST = 2**40  # bytes
_MARK, _DIGITS = b"sha256:", 64
_SEAL = len(_MARK) + _DIGITS


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before it is kept under the name ``previous`` until ``forget_previous``.

    Where it cannot be written, the one before it stays the last; raises NotWritten.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(-2, io.SEEK_END)
    buffer.write(_SEAL.to_bytes(2, "little"))  # an archive ends with the length of its comment
    seal = _MARK + hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
    buffer.write(seal)
    if path.exists():
        os.replace(path, previous(path))  # first, so that a disk need not have room for three
    try:
        write_atomic(path, buffer.getvalue())
    except OSError:
        if previous(path).exists():
            reinstate_previous(path)
        raise


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is."""
    return path.with_stem(f"{path.stem}.previous")


def forget_previous(path: Path) -> None:
    """Remove the checkpoint before the one at ``path``, once training has ended and its last one is on record."""
    previous(path).unlink(missing_ok=True)


def reinstate_previous(path: Path) -> None:
    """Let the checkpoint before the one at ``path`` take its place: the next one to be saved keeps a good one."""
    os.replace(previous(path), path)


def to_start_anew(path: Path) -> str:
    """What to delete, so that training starts anew and not from the checkpoint before the one at ``path``."""
    older = previous(path)
    return f"delete it{f' and {older.name}' if older.exists() else ''} to start anew"


def digest(path: Path) -> str | None:
    """The checksum that a checkpoint carries, hexadecimal SHA-256; None for one of an older version without it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _SEAL))
        return _seal(file.read())


def load(path: Path, device: torch.device, advice: str = "delete it to start anew") -> dict[str, Any]:
    """Read a checkpoint, unpickling nothing but tensors and builtins.

    Raises CheckpointError, with the ``advice``, if it cannot be read or is damaged, and what PyTorch raises where there
    is no memory for a sound one.
    """
    try:
        check_archive(path)
        content = read_bytes(path, LARGEST)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); {advice}") from error
    try:
        _check(content)
        return _read(content, device)
    except (MemoryError, torch.OutOfMemoryError):
        raise  # nothing is wrong with the file
    except RuntimeError as error:
        if _seal(content) is not None:  # it is sound, so that it is the memory of which PyTorch has too little
            raise
        raise CheckpointError(f"{path} is damaged (PyTorch cannot read it); {advice}") from error
    except Exception as error:  # what is raised for a damaged file is not listed anywhere
        raise CheckpointError(f"{path} is damaged ({str(error) or type(error).__name__}); {advice}") from error


def _read(content: bytes, device: torch.device) -> dict[str, Any]:
    """The dictionary in the bytes of a file; ValueError, in words of our own, for one with other objects in it."""
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except pickle.UnpicklingError:  # its text advises to unpickle
        found = objects_in(io.BytesIO(content))
        raise ValueError(f"Python objects in it: {found}" if found else "PyTorch cannot read it") from None
    if not isinstance(state, dict):
        raise TypeError(f"no dictionary, but {type(state).__name__}")
    return state


def load_last_good(path: Path, device: torch.device) -> tuple[dict[str, Any] | None, str | None]:
    """The state to go on from, and what to say where it is not that of the last checkpoint.

    None where there is no checkpoint; raises CheckpointError where there are only damaged ones.
    """
    damage: CheckpointError | None = None
    advice = to_start_anew(path)
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            state = load(candidate, device, advice)
        except CheckpointError as error:
            damage = damage or error
        else:
            gone = f"{path} is not there; delete {candidate.name} to start anew"
            return state, None if candidate == path else f"{damage or gone}; going on from the checkpoint before it"
    if damage:
        raise damage
    return None, None


def load_recorded(folder: Path, record: RunRecord, epochs: int, device: torch.device) -> dict[str, Tensor]:
    """The weights in the checkpoint that the training of ``epochs`` behind a record ended with.

    Raises CheckpointError where it is another one, or none of a training.

    A record of an older version names no checkpoint; then it is the epoch that is compared.
    """
    path, named = folder / CHECKPOINT, record.checkpoint or {}
    advice = f"put back the one that its record names, or delete {folder} to train stage one anew"
    state = load(path, device, advice)
    position = state.get("position")
    found = {"sha256": digest(path), "epoch": position.get("epoch") if isinstance(position, dict) else None}
    expected = {"epoch": epochs, **named}
    if any(found.get(key) != value for key, value in expected.items()):
        raise CheckpointError(
            f"{path} (after epoch {found['epoch']}, checksum {found['sha256']}) is not the checkpoint that the record "
            f"beside it names (after epoch {expected['epoch']}, checksum {expected.get('sha256')}); {advice}"
        )
    try:
        return result(state)
    except (LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has no weights of a training ({one_line(error)}); {advice}") from error


def threads(path: Path) -> int | None:
    """The number of threads that the training of a checkpoint began with; None where it is not there or not known."""
    state, _ = load_last_good(path, torch.device("cpu"))
    number = state and state.get("threads")
    return number if isinstance(number, int) and number > 0 else None


def result(state: dict[str, Any]) -> dict[str, Tensor]:
    """What a finished training hands on: the weights of its best epoch, else the averaged ones, else the last."""
    best = state["position"]["best"]
    weights: dict[str, Tensor] = best["model"] if best else {**state["model"], **state.get("average", {})}
    return weights


def _seal(content: bytes) -> str | None:
    """The checksum at the end of a file's bytes."""
    mark, digits = content[-_SEAL:-_DIGITS], content[-_DIGITS:]
    return digits.decode("ascii", "replace") if mark == _MARK else None


def _check(content: bytes) -> None:
    """ValueError or BadZipFile unless all bytes are as they were written; one without a seal has the archive's own."""
    if expected := _seal(content):
        if hashlib.sha256(memoryview(content)[:-_SEAL]).hexdigest() != expected:
            raise ValueError("its checksum is another")
        return
    check_entries(io.BytesIO(content))

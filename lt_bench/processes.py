"""This process among those of a run, as the environment of torchrun or of a cluster's launcher describes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from lt_bench.errors import UsageError

ADVICE = "unset WORLD_SIZE for a run in one process, or start the processes with torchrun"
PLACE = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Place(NamedTuple):
    """The rank of this process, the number of processes, and the rank on this machine (None: not said)."""

    rank: int = 0
    world_size: int = 1
    local_rank: int | None = 0


def place() -> Place:
    """Where this process stands; one process where the environment does not say how many there are.

    Raises UsageError, which names the variable, for values that describe no process of a group.
    """
    if not _words("WORLD_SIZE"):
        return Place()
    world_size = _number("WORLD_SIZE", 1)
    if world_size == 1:
        return Place() if not _words("RANK") else Place(rank=_number("RANK", 0, below=1))
    local_rank = _number("LOCAL_RANK", 0, below=world_size) if _words("LOCAL_RANK") else None
    return Place(_number("RANK", 0, below=world_size), world_size, local_rank)


def meeting_point() -> str:
    """Where the processes meet, as HOST:PORT; UsageError where the environment does not say it."""
    port = _number("MASTER_PORT", 0, below=2**16)
    if not (host := _words("MASTER_ADDR")):
        raise UsageError(_missing("MASTER_ADDR"))
    return f"{host}:{port}"


def ignored() -> list[str]:
    """One line for each variable that another start has left behind and that means nothing here."""
    if _words("WORLD_SIZE"):
        return []
    empty = ["WORLD_SIZE is empty in the environment: this is a run in one process"] * ("WORLD_SIZE" in os.environ)
    left = [name for name in ("RANK", "LOCAL_RANK") if _words(name) not in ("", "0")]
    return empty + [
        f"{name}={_words(name)} in the environment is ignored: without WORLD_SIZE this is a run in one process"
        for name in left
    ]


def without_place(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what it says of a place: for processes that are started, which take none of another's."""
    return {name: value for name, value in environment.items() if name not in PLACE}


def left_to_sweep() -> list[str]:
    """One line where the environment describes a process of a group, which none of a sweep's runs is."""
    alone = {"WORLD_SIZE": ("", "1"), "RANK": ("", "0"), "LOCAL_RANK": ("", "0")}
    left = [f"{name}={_words(name)[:40]}" for name, usual in alone.items() if _words(name) not in usual]
    said = "in the environment: not for a sweep, which starts the processes of its runs itself; ignored"
    return [f"{', '.join(left)} {said}"] if left else []


def _number(name: str, least: int, below: int | None = None) -> int:
    words = _words(name)
    if not words:
        raise UsageError(_missing(name))
    known = words.isascii() and words.isdecimal() and len(words) <= 9
    if not known or int(words) < least or (below is not None and int(words) >= below):
        to = "" if below is None else f" to {below - 1}"
        raise UsageError(f"{name}={words[:40]} in the environment: it takes a whole number from {least}{to}; {ADVICE}")
    return int(words)


def _missing(name: str) -> str:
    return f"{name} is not in the environment, but WORLD_SIZE={_words('WORLD_SIZE')} is; {ADVICE}"


def _words(name: str) -> str:
    return os.environ.get(name, "").strip()

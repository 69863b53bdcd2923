"""Choices of one's own: YAML files in ``lt_bench_conf/`` of the current folder, or in the folder of ``--config-dir``.

They have the layout of conf/ and are read only where a word that was typed, or another such file, names them: none has
the name of one of the package's, and none is picked by the names of other choices. What they set is part of a run's
identity as it is when it is typed.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from importlib.resources import files
from pathlib import Path
from typing import ParamSpec, TypeVar

from lt_bench.errors import UsageError

FOLDER = "lt_bench_conf"
OWN_CHOICES = (
    f"choices are the files in the folders of conf/, {FOLDER}/ and --config-dir DIR; set single keys for what no file "
    "has, for example method._target_=my_module.MyMethod"
)
PICKED = "quirks"  # the folders whose files are picked by the choices of other groups alone
DEPTHS = ("", "*/", "*/*/")  # groups, and the recipes of a component
NO_WORD = re.compile("null|true|false|nan|inf", re.IGNORECASE)  # what is read as a value where it is typed
RUN_FILES = ("record.json", "status.json", "submission.json")  # any of them makes a folder somebody's run

_typed: ContextVar[tuple[Path, ...]] = ContextVar("folders that were typed", default=())

P = ParamSpec("P")
R = TypeVar("R")


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``--config-dir DIR``, which Hydra calls ``-cd`` too."""
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help=f"choices of your own, beside those in {FOLDER}/")


@contextmanager
def own_files(folder: str | None) -> Iterator[None]:
    """A block in which files of the folder after ``--config-dir`` can be chosen; UsageError where it is none."""
    if folder is None:
        yield
        return
    path = Path(os.path.expanduser(folder))  # "~nobody" stays as it is
    if not os.path.isdir(path):  # nor is what can be no name
        raise UsageError(f"--config-dir {folder}: there is no such folder; {OWN_CHOICES}")
    if run := _run_around(path):
        raise UsageError(f"--config-dir {folder}: it is in the folder of a run, {run}; copy what you want from it")
    token = _typed.set((path.resolve(),))
    try:
        yield
    finally:
        _typed.reset(token)


def own_folders() -> tuple[Path, ...]:
    """The folders of one's own choices; raises UsageError for a file in them that can be none.

    One in the current folder does not count where that is, or is in, the folder of a run: that may be anybody's.
    """
    found = _typed.get()
    if os.path.isdir(FOLDER):
        found = tuple(dict.fromkeys([*found, *_lying_in(os.getcwd())]))
    return _checked(found) if found else ()


def cached(function: Callable[P, R]) -> Callable[P, R]:
    """As ``functools.cache``, for each set of folders of one's own choices."""

    @cache
    def kept(folders: tuple[Path, ...], *arguments: P.args, **named: P.kwargs) -> R:
        return function(*arguments, **named)

    @wraps(function)
    def found(*arguments: P.args, **named: P.kwargs) -> R:
        return kept(own_folders(), *arguments, **named)  # type: ignore[arg-type]  # all are hashable

    found.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
    return found


def _run_around(path: Path) -> Path | None:
    """The folder of a run that a path is in, or is."""
    path = path.resolve()
    return next((one for one in (path, *path.parents) if any((one / name).exists() for name in RUN_FILES)), None)


@cache
def _lying_in(current: str) -> tuple[Path, ...]:
    path = Path(current, FOLDER).resolve()
    return () if _run_around(path) else (path,)


@cache
def _checked(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """The folders, once every file in them is known to be a choice."""
    seen = dict[str, Path]()
    for folder in folders:
        for path in sorted(path for depth in DEPTHS for path in folder.glob(f"{depth}*.y*ml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if wrong := _wrong(name, path) or (f"{seen[name]} has the same name; rename one" if name in seen else ""):
                raise UsageError(f"{path}: {wrong}")
            seen[name] = path
    return folders


def _wrong(name: str, path: Path) -> str:
    """Why a file can be no choice, with what to do; empty for one that can."""
    group, _, choice = name.rpartition("/")
    ours = files("lt_bench.conf")
    of_group = ours / (group or "none")
    if path.suffix != ".yaml":
        return "files of choices end in .yaml; rename it"
    if not path.is_file():  # to read a pipe would wait for ever
        return "it is no regular file; remove it"
    if not of_group.is_dir() or group.rpartition("/")[2] == PICKED:
        known = sorted(one.name for one in ours.iterdir() if one.is_dir() and one.name not in ("__pycache__", PICKED))
        return f"{group or 'it'} is no group of choices; put it into a folder named {', '.join(known)}"
    if not re.fullmatch(r"\w+", choice) or NO_WORD.fullmatch(choice):
        return f"{choice!r} can be no choice; give it a name of letters, digits and _, such as my_choice"
    package = of_group / f"{choice}.yaml"
    if package.is_file() and package.read_bytes() != path.read_bytes():
        return f"the package has {group}={choice}; give yours another name, such as my_{choice}.yaml"
    return ""

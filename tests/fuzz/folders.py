"""Files as they may lie in a folder: valid ones, damaged ones, and things that are no files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.odd import damaged, replaced

GONE, FOLDER, LOOP, DEVICE, PIPE = "gone", "a folder", "a link to itself", "a link to /dev/zero", "a pipe"
MADE: dict[str, Callable[[Path], Any]] = {
    GONE: lambda path: None,
    FOLDER: lambda path: path.mkdir(),
    LOOP: lambda path: path.symlink_to(path.name),
    DEVICE: lambda path: path.symlink_to("/dev/zero"),
    PIPE: os.mkfifo,
}
Content = bytes | str  # of a file, or one of the words above


def content(valid: bytes) -> SearchStrategy[Content]:
    """What may stand in the place of a file: a little damage, or something else altogether; a tree where it is JSON."""
    others: list[SearchStrategy[Content]] = [st.just(valid), damaged(st.just(valid)), st.sampled_from(sorted(MADE))]
    with contextlib.suppress(ValueError):
        tree = json.loads(valid)
        others = [st.just(valid), *[replaced(tree).map(as_json)] * 4, *others]
    return st.one_of(others)


def as_json(tree: Any) -> bytes:
    """A tree as JSON, as Python writes it: NaN is a word, and half of a pair of surrogates an escape."""
    return json.dumps(tree).encode()


def contents(valid: Mapping[str, bytes], changes: int = 2) -> SearchStrategy[dict[str, Content]]:
    """What a few of some files hold instead, by their paths."""
    names = st.lists(st.sampled_from(sorted(valid)), min_size=1, max_size=changes, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: content(valid[name]) for name in chosen}))


@contextlib.contextmanager
def laid(files: Mapping[str, Content]) -> Iterator[Path]:
    """A folder that holds some files, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="lt_bench-fuzz-") as folder:
        for name, inside in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(inside, bytes):
                path.write_bytes(inside)
            else:
                MADE[inside](path)
        yield Path(folder)


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A block whose prints go nowhere, as through a terminal that can show every letter."""
    nowhere = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield

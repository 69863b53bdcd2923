"""Folders of split lists: positions as text and as arrays, of which some files are damaged, doubled or no files."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from lt_bench.data.splits.from_lists import read_split
from lt_bench.data.splits.list_files import checksums
from lt_bench.errors import UsageError
from tests.fuzz.contract import Reader
from tests.fuzz.lists import spoiled

LABELS = np.tile(np.arange(3), 8)
VALID = {
    "split1/train": list(range(12)),
    "validation": [21, 22, 23],
    "probe_full": list(range(15)),
    "split1/probe_2shot": list(range(6)),
    "split2/probe_1shot": [9, 10, 11],
}
PLACES = [
    *VALID,
    *("split1/validation", "split2/train", "split１/train", "split1/probe_²shot", "split1/probe_0shot", "Split1/TRAIN"),
    *(f"split1/probe_{'9' * 30}shot", "readme", "split1", "split1/train/deeper"),
]
TOKENS = [
    "-1",
    "24",
    "1.0",
    "1_0",
    "１",
    "+3",
    "0x1",
    "",
    " 5 ",
    "5 6",
    "9" * 30,
    "9" * 5000,
    "a",
    "1e1",
    "\ufeff7",
    "\udce9",
    "#",
]
KINDS = ("folder", "link to nothing", "link to itself", "pipe")  # in the place of a file
DAMAGE = [  # of the header of an array file
    *(
        (b"'descr'", b"descr"),
        (b"'<i8'", b"'<x9'"),
        (b"'<i8'", b"[('a','<i8')]"),
        (b"'<i8'", b"[[[[["),
        (b"'<i8'", b"None"),
    ),
    *(
        (b"(", b"(-"),
        (b",)", b",,)"),
        (b",)", b",10**9)"),
        (b",)", b",99999999999999999999999)"),
        (b"shape", b"sh\0pe"),
    ),
    *((b"{", b"{" * 30), (b"{", b"(" * 3000), (b"False", b"3"), (b"\x93NUMPY", b"\x93NUMPI"), (b"\x01\0v", b"\x03\0v")),
]
DTYPES = ["<i8", ">i4", "u1", "<u8", "<f8", "?", "S3", "<U2", "M8[s]", "V4"]


class Folder(NamedTuple):
    """Files by their paths in a folder, which of its splits is read, and the tail that it is to have."""

    files: dict[str, bytes | str]
    number: int
    factor: float | None
    profile: Literal["exponential", "step"]


@st.composite
def positions(draw: DrawFn, valid: list[int]) -> str:
    """The text of a list, with a few lines that are others."""
    lines = [str(position) for position in valid]
    for _ in range(draw(st.integers(0, 2))):
        line = draw(st.one_of(st.sampled_from(TOKENS), st.integers(-1, 25).map(str), st.text(max_size=4)))
        lines.insert(draw(st.integers(0, len(lines))), line)
    return draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])).join(lines)


@st.composite
def arrays(draw: DrawFn, valid: list[int]) -> bytes:
    """The bytes of an array file, of which the header or the values may be damaged."""
    stream = io.BytesIO()
    values: Any = np.array(valid)
    kind = draw(st.sampled_from(["<i8", "<i8", "<i8", *DTYPES, "object", "matrix", "number"]))
    if kind == "object":
        values = np.array([*valid, None], dtype=object)
    elif kind in ("matrix", "number"):
        values = values.reshape(-1, 3) if kind == "matrix" else np.array(3)
    elif kind == "V4":
        values = np.zeros(len(valid), dtype="V4")
    else:
        values = values.astype(kind)
    np.save(stream, values, allow_pickle=True)
    content = stream.getvalue()
    if draw(st.booleans()):
        return content
    old, new = draw(st.sampled_from(DAMAGE))
    content = content.replace(old, new, 1)
    start = draw(st.integers(0, len(content)))
    return content[:start] + draw(st.binary(max_size=3)) + content[start + draw(st.integers(0, 9)) :]


@st.composite
def folders(draw: DrawFn) -> Folder:
    """A folder of lists, most of them valid."""
    files: dict[str, bytes | str] = {}
    others = draw(st.lists(st.sampled_from(PLACES), max_size=2))
    spoilt = draw(st.lists(st.sampled_from([*VALID]), max_size=2))
    for place in [*VALID, *others]:
        valid = VALID.get(place, VALID["split1/train"])
        content: bytes | str = "\n".join(map(str, valid)).encode()
        if place not in (*spoilt, *others):
            files[f"{place}.txt"] = content
            continue
        suffix = draw(st.sampled_from([".txt", ".npy", ".TXT", ".NPY", ".md", ""]))
        if draw(st.integers(0, 6)) == 0:
            content = draw(st.sampled_from(KINDS))
        elif draw(st.booleans()):
            content = draw(arrays(valid) if suffix.lower() == ".npy" else spoiled(positions(valid)))
        files[place + suffix] = content
    tail = draw(st.sampled_from([None, None, 1.0, 2.0, 1e9])), draw(st.sampled_from(["exponential", "step"]))
    return Folder(files, draw(st.sampled_from([1, 1, 1, 2, 10**30])), *tail)


@cache
def _folder() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """A folder that lasts as long as the process."""
    lasting = tempfile.TemporaryDirectory(prefix="lt_bench-splits-")
    return lasting, Path(lasting.name) / "split_dir"


def read_folder(written: Folder) -> None:
    """Read a split, and what its run is known by."""
    folder = _folder()[1]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in written.files.items():
        _lay(folder / name, content)
    checksums(folder, written.number)
    split = read_split(folder, written.number, LABELS, 3, factor=written.factor, profile=written.profile)
    assert not set(split.train) & set(split.validation) and min(split.class_counts) > 0
    assert sum(split.class_counts) == len(set(split.train.tolist())) == len(split.train)


def _lay(path: Path, content: bytes | str) -> None:
    """Put a file, or what stands in the place of one, where nothing is in the way."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content == "folder":
            path.mkdir()
        elif content == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("nowhere" if content == "link to nothing" else path.name)
    except OSError:
        return


READERS = {"split lists": Reader(folders(), read_folder, (UsageError,))}

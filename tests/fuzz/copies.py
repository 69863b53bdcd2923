"""Packed copies of data sets, the journals of unfinished ones, and the cache of digests of files."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from lt_bench.data.files import digests
from lt_bench.data.files.image_file import BadImage, StoredForm
from lt_bench.data.files.packed import CHECKSUM, IMAGES, INDEX, VERSION, PackedImages, _write_index
from lt_bench.data.files.packing_journal import JOURNAL, Entry, Unfinished
from lt_bench.errors import DataError, UsageError
from tests.fuzz.contract import Reader
from tests.fuzz.folders import Content, contents, damaged, laid, quiet, read_folder
from tests.fuzz.odd import replaced

FORM = StoredForm(4, None)
NAMES = ["a.png", "b/c.png", "d\udce9.png"]
PURPOSE = json.dumps({"version": VERSION, **FORM._asdict(), "names": "x"})


@cache
def _valid() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of a packed copy, and of an unfinished one."""
    with tempfile.TemporaryDirectory() as folder:
        with Unfinished(Path(folder, "unfinished"), IMAGES, PURPOSE) as copy:
            for number, name in enumerate(NAMES):
                data = np.asarray(Image.new("RGB", (4, 5), (number, 0, 0))).tobytes()
                copy.append(Entry(name, 5, 4, _crc(data), len(data), "0" * 64, 9), data)
            copy._images.flush()
            copy._journal.flush()
            unfinished = read_folder(Path(folder, "unfinished"))
            _write_index(copy, FORM)
            copy.finish(Path(folder, "copy"))
        return read_folder(Path(folder, "copy")), {JOURNAL: unfinished[JOURNAL], IMAGES: unfinished[IMAGES]}


def _crc(data: bytes) -> int:
    import zlib

    return zlib.crc32(data)


@st.composite
def packed(draw: Callable[..., Any]) -> dict[str, Content]:
    """The files of a packed copy, some damaged; often with the checksum of what is in the index now."""
    files: dict[str, Content] = draw(contents(_valid()[0]))
    index = files.get(INDEX, _valid()[0][INDEX])
    if draw(st.booleans()):
        arrays = dict(np.load(tempfile_of(_valid()[0][INDEX])))
        name = draw(st.sampled_from(sorted(arrays)))
        if name == "header":
            tree = json.loads(arrays[name].tobytes())
            arrays[name] = np.frombuffer(json.dumps(draw(replaced(tree))).encode() or b"0", np.uint8)
        else:
            kind = draw(st.sampled_from([np.uint8, np.int64, np.float64, np.bool_, np.str_]))
            shape = draw(st.sampled_from([(), (0,), (1,), (3,), (4,), (3, 2), (3, 32), (2, 2, 2)]))
            arrays[name] = np.resize(arrays[name], shape).astype(kind)
        if draw(st.integers(0, 4)) == 0:
            del arrays[name]
        index = bytes_of(arrays)
    if isinstance(index, bytes) and draw(st.integers(0, 4)):
        files |= {INDEX: index, CHECKSUM: f"{hashlib.sha256(index).hexdigest()}  {INDEX}\n".encode()}
    return files


def tempfile_of(content: bytes) -> Any:
    import io

    return io.BytesIO(content)


def bytes_of(arrays: dict[str, Any]) -> bytes:
    stream = tempfile_of(b"")
    np.savez(stream, **arrays)
    return bytes(stream.getvalue())


def read_packed(files: dict[str, Content]) -> None:
    """Open a packed copy and read all its images."""
    with laid({**_valid()[0], **files}) as folder:
        images = PackedImages(folder, NAMES, FORM)
        images.made_of()
        for position in range(len(images)):
            with suppress(BadImage):
                images[position]


def read_journal(files: dict[str, Content]) -> None:
    """Go on with an unfinished copy."""
    with laid({**_valid()[1], **files}) as folder, Unfinished(folder, IMAGES, PURPOSE) as copy:
        assert all(isinstance(entry.name, str) for entry in copy.entries)


@cache
def _kept() -> bytes:
    lines = [digests.FIRST_LINE, f"{'0' * 64}\t1 2 3 4\ta", f"{'1' * 64}\t1 2 3 4\tb/\udce9"]
    return "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")


def read_digests(kept: bytes) -> None:
    """Look up files whose digests were kept in a cache that is damaged."""
    with laid({"a": b"x", "cache/none": b""}) as folder, quiet():
        former, os.environ["LT_BENCH_CACHE"] = os.environ.get("LT_BENCH_CACHE"), str(folder / "cache")
        try:
            digests._path_of_cache(str(folder)).write_bytes(kept)
            (found,) = digests.digests(str(folder), ["a"], shown=False)
            assert found.sha256 == hashlib.sha256(b"x").hexdigest() and found.size == 1
        finally:
            os.environ.pop("LT_BENCH_CACHE")
            if former is not None:
                os.environ["LT_BENCH_CACHE"] = former


READERS = {
    "packed copies": Reader(st.deferred(packed), read_packed, (DataError, UsageError)),
    "journals": Reader(st.deferred(lambda: contents(_valid()[1])), read_journal, (DataError, OSError)),
    "digests": Reader(st.deferred(lambda: damaged(st.just(_kept()))), read_digests, ()),
}

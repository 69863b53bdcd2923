"""A packed copy of a data set: all its images in one file, resized once, and an index with checksums."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.files.decoders import USUAL, Decoded, Reduction, decoder_named, unreduced
from lt_bench.data.files.digests import NONE, Digest, stamp_of
from lt_bench.data.files.image_file import StoredForm, decode, read_below, real_root
from lt_bench.data.files.packing_journal import Entry, Unfinished
from lt_bench.data.files.parallel import in_parallel
from lt_bench.data.files.rgb import PLAIN, BadImage
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.errors import DataError, UsageError
from lt_bench.files import SMALL, parse_json, read_arrays, read_bytes, read_text, write_atomic, writing

VERSION, READ = 2, (1, 2)  # a copy of version 1 does not say which files it was made of
IMAGES, INDEX, CHECKSUM = "images.bin", "index.npz", "index.sha256"


def pack(
    lists: ImageLists,
    folder: Path,
    form: StoredForm,
    workers: int,
    skip: bool,
    shown: bool,
    follow_links: bool = False,
) -> int:
    """Write a packed copy of all parts to a new folder; the number of its images.

    The folder appears when it is complete; until then the images are in ``.NAME.unfinished`` beside it, where an
    interrupted copy of the same images in the same form is continued. Where ``skip``, images that cannot be read are
    left out. Raises DataError for a folder that is there already, for a copy that another process is writing, and,
    naming every one, for images that cannot be read.
    """
    if folder.exists():
        raise DataError(f"{folder} is there already; delete it to write it anew, or set dataset.packed=DIR")
    # the probe list may name training images again
    names = list(dict.fromkeys(name for files in lists.parts().values() for name in files.names))
    if broken := [name for name in names if "\n" in name]:
        raise DataError(
            f"names with line breaks: {len(broken)}, the first {broken[0]!r}; rename these files to pack them"
        )
    listed = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    purpose = json.dumps({"version": VERSION, **form._asdict(), "names": listed})
    with Unfinished(folder.parent / f".{folder.name}.unfinished", IMAGES, purpose) as copy:
        done = {entry.name for entry in copy.entries}
        left = [name for name in names if name not in done]
        read = partial(read_below, real_root(lists.root), follow_links=follow_links)
        make = partial(_record, read, form)
        title = f"packing, {len(done):,} done before" if done else "packing"
        problems = []
        for record in in_parallel(make, left, workers, title, shown):
            if isinstance(record, str):
                problems.append(record)
            else:
                copy.append(*record)
        if problems and not skip:
            advice = "fix the files, or set dataset.on_bad_image=skip to leave these images out; the copy goes on then"
            raise DataError("\n".join([*problems, advice]))
        _write_index(copy, form)
        copy.finish(folder)
    return len(names) - len(problems)


def _record(read: Callable[[str], bytes], form: StoredForm, name: str) -> tuple[Entry, bytes] | str:
    """An image and its bytes, pixels or a JPEG file; or the problem of its file."""
    try:
        content = read(name)
        image = form.shrink(decode(content, name, form.pixels))
    except BadImage as error:
        return str(error)
    data = image.tobytes() if form.jpeg_quality is None else form.encode(image)
    made_of = hashlib.sha256(content).hexdigest(), len(content)
    return Entry(name, image.height, image.width, zlib.crc32(data), len(data), *made_of), data


def _write_index(copy: Unfinished, form: StoredForm) -> None:
    """Write the position of every image, and the checksum of this index."""
    header = {"version": VERSION, **form._asdict()}
    with writing(copy.folder / INDEX), (copy.folder / INDEX).open("wb") as stream:
        np.savez(
            stream,
            header=_text(json.dumps(header)),
            names=_text("\n".join(entry.name for entry in copy.entries)),
            offsets=np.cumsum([0, *(entry.size for entry in copy.entries)], dtype=np.int64),
            sizes=np.array([entry[1:3] for entry in copy.entries], dtype=np.int32).reshape(-1, 2),
            crc32=np.array([entry.crc32 for entry in copy.entries], dtype=np.uint32),
            file_sha256=np.array([list(bytes.fromhex(entry.file_sha256)) for entry in copy.entries], dtype=np.uint8),
            file_sizes=np.array([entry.file_size for entry in copy.entries], dtype=np.int64),
        )
        stream.flush()
        os.fsync(stream.fileno())
    digest = hashlib.sha256((copy.folder / INDEX).read_bytes()).hexdigest()
    write_atomic(copy.folder / CHECKSUM, f"{digest}  {INDEX}\n")


class PackedImages:
    """Images of a packed copy by their paths in the lists; every record is verified when it is read.

    Raises DataError for a copy that is not whole, and UsageError for one whose images have another form.
    """

    def __init__(self, folder: Path, names: list[str], form: StoredForm, decoder: str = USUAL) -> None:
        self._decode = decoder_named(decoder)
        self.folder, self.names, self.form = (
            folder,
            np.array([name.encode("utf-8", "surrogateescape") for name in names], np.bytes_),
            form,
        )
        index = _read_index(folder)
        header = index["header"]  # an older one does not name the rule for its pixels, which was the usual one
        stored = StoredForm(**{key: header[key] for key in StoredForm._fields if key in header})
        if stored != form:
            raise UsageError(
                f"the packed copy {folder} holds another form of the images than files read with "
                f"{form.overrides()}; set {stored.overrides()}, which decides the result and "
                "belongs to the run's identity"
            )
        rows = {name: row for row, name in enumerate(index["names"])}
        self.rows = np.array([rows.get(name, -1) for name in names], dtype=np.int64)
        self.offsets, self.sizes, self.crc32 = index["offsets"], index["sizes"], index["crc32"]
        self._files = (index.get("file_sha256"), index.get("file_sizes"))
        self._bytes: NDArray[np.uint8] | None = None

    @property
    def place(self) -> str:
        """The folder of the copy."""
        return str(self.folder.absolute())

    @property
    def reading(self) -> str:
        """The form."""
        return str(self.form)

    def stamp(self, position: int) -> str:
        """The stamp of the file of all images, as ``digests`` knows it, and where in it an image is."""
        return f"{stamp_of(str(self.folder / IMAGES))} {self.offsets[max(self.rows[position], 0)]}"

    def made_of(self) -> list[Digest]:
        """The digests of the files that the images were made of, UNREADABLE for an image that is not in the copy.

        Raises DataError for a copy that does not know them.
        """
        sums, sizes = self._files
        if sums is None or sizes is None:
            raise DataError(
                f"the packed copy {self.folder} is of an older version, which does not say what its images were made "
                "of; write it anew with python -m lt_bench.data prepare"
            )
        return [NONE if row < 0 else Digest(str(sizes[row]), sums[row].tobytes().hex()) for row in self.rows.tolist()]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_bytes": None, "_files": (None, None)}  # another process maps the file itself

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, (H, W, 3); raises BadImage, which names it."""
        return self.reduced(position, unreduced).pixels

    def reduced(self, position: int, most: Reduction) -> Decoded:
        """As ``[position]``; a JPEG file may be reduced."""
        if self._bytes is None:
            self._bytes = np.memmap(self.folder / IMAGES, dtype=np.uint8, mode="r")
        row, name = self.rows[position], self.names[position].decode("utf-8", "surrogateescape")
        if row < 0:
            raise BadImage(f"{name} is not in the packed copy {self.folder}")
        data = self._bytes[self.offsets[row] : self.offsets[row + 1]]
        if zlib.crc32(data.data) != self.crc32[row]:
            raise BadImage(f"{name} is damaged in the packed copy {self.folder} (CRC-32)")
        if self.form.jpeg_quality is None:
            height, width = self.sizes[row].tolist()
            return Decoded(np.asarray(data).reshape(height, width, 3), (height, width))
        return self._decode(data.tobytes(), name, PLAIN, most)


def _read_index(folder: Path) -> dict[str, Any]:
    """The verified index; raises DataError for a copy that is missing, cut off or was changed."""
    advice = "write it anew with python -m lt_bench.data prepare"
    try:
        data = read_bytes(folder / INDEX)
        digest, size = read_text(folder / CHECKSUM, SMALL).split()[0], (folder / IMAGES).stat().st_size
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise DataError(f"{folder} is not a complete packed copy ({error}); {advice}") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise DataError(f"{folder / INDEX} does not have the SHA-256 in {CHECKSUM}: damaged or changed; {advice}")
    try:
        arrays = read_arrays(folder / INDEX)
        index: dict[str, Any] = {key: arrays[key] for key in arrays if key not in ("header", "names")}
        index["header"] = parse_json(arrays["header"].tobytes())
        index["names"] = arrays["names"].tobytes().decode("utf-8", "surrogateescape").split("\n")
        if not _fit(**index):
            raise ValueError("its parts do not fit together")
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise DataError(f"{folder / INDEX} is no index of a packed copy ({error}); {advice}") from error
    if len(index["names"]) != len(index["crc32"]) and len(index["crc32"]):
        raise DataError(
            f"{folder / INDEX} has names of several lines, so that images would be taken for others; {advice}"
        )
    if index["header"]["version"] not in READ or index["offsets"][-1] != size:
        raise DataError(
            f"{folder / IMAGES} has {size} bytes, the index (version {index['header']['version']}) expects "
            f"{index['offsets'][-1]} (version {VERSION}); {advice}"
        )
    return index


def _fit(
    header: Mapping[str, Any],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int32],
    crc32: NDArray[np.uint32],
    file_sha256: NDArray[np.uint8] | None = None,
    file_sizes: NDArray[np.int64] | None = None,
    **_: object,
) -> bool:
    """Whether the parts of an index have the shapes of one; TypeError for one that lacks an array."""
    if not isinstance(header, Mapping) or not {"version", "short_side", "jpeg_quality"} <= header.keys():
        return False
    number = crc32.size
    shapes: list[tuple[NDArray[Any], tuple[int, ...]]] = [
        (crc32, (number,)),
        (offsets, (number + 1,)),
        (sizes, (number, 2)),
    ]
    shapes += [(file_sha256, (number, 32))] if file_sha256 is not None else []
    shapes += [(file_sizes, (number,))] if file_sizes is not None else []
    for array, shape in shapes:
        if array.dtype.kind not in "iu" or (array.shape != shape and (array.size or math.prod(shape))):
            return False
    bytes_each, pixels = np.diff(offsets), 3 * sizes.astype(np.int64).prod(axis=1)
    expected = bytes_each >= 0 if header["jpeg_quality"] is not None else bytes_each == pixels
    return bool(offsets[0] == 0 and expected.all())


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)

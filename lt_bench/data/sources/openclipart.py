"""OpenClipart-LT: public domain drawings in 16 classes with a long tail of their own, from Debian's openclipart-png.

Which files are in it, by their SHA-256, and which of them each of five splits tests on, stands in ``openclipart.txt``.
A class is a folder of the package. Files of one folder that show the same count once; what several folders show is in
each of their classes, and tested on in none.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files as package_files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_bench.data.files.digests import Digest, digests
from lt_bench.data.files.image_file import StoredForm, real_root
from lt_bench.data.files.packed import PackedImages
from lt_bench.data.files.rgb import SHOWN
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import ImageFiles, Problem
from lt_bench.errors import DataError, UsageError

PACKAGE = "openclipart-png"
FOLDER = Path("/usr/share/openclipart/png")
MANIFEST = "openclipart.txt"
SPLITS, TEST_PER_CLASS = 5, 10
DIGITS = 12  # of the SHA-256 of a file that stand in the manifest


class Drawing(NamedTuple):
    """A file: its path below the root, the first digits of its SHA-256, and the splits that test on it."""

    name: str
    digits: str
    tested: str

    @property
    def label(self) -> str:
        """Its class, which is its first folder."""
        return self.name.partition("/")[0]


def load(
    root: Path,
    *,
    split_seed: int,
    packed: str | None = None,
    short_side: int | None = None,
    jpeg_quality: int | None = None,
    pixels: str = SHOWN,
) -> ImageLists:
    """The lists of a split, 0 to 4, with every file that is not the one in the manifest among their problems.

    Files lie below ``root`` or, where that is no folder, in Debian's package; where there is a packed copy in this
    form, what it was made of is compared instead.
    Raises UsageError for another split, DataError where there is no such folder, and what ``PackedImages`` raises.
    """
    if split_seed not in range(SPLITS):
        raise UsageError(
            f"split_seed={split_seed}: OpenClipart-LT has {SPLITS} splits, each with its test images in its manifest; "
            f"set split_seed to 0 .. {SPLITS - 1}"
        )
    drawings = read_manifest(_text())
    names = [drawing.name for drawing in drawings]
    if packed is not None and (copy := Path(packed).expanduser()).is_dir():
        found = PackedImages(copy, names, StoredForm(short_side, jpeg_quality, pixels)).made_of()
        place = copy
    else:
        root = place = _place(root)
        found = digests(real_root(root), names, shown=False)
    return _lists(root, drawings, split_seed, list(_differences(place, drawings, found)))


def read_manifest(text: str) -> list[Drawing]:
    """The files of a manifest: lines of folders, which end in /, and below each those of its files."""
    drawings, folder = list[Drawing](), ""
    for line in text.splitlines():
        if line.endswith("/"):
            folder = line
        elif not line.startswith("#"):
            digits, tested, name = line.split(" ", 2)
            drawings.append(Drawing(folder + name, digits, tested))
    return drawings


def _text() -> str:
    return (package_files("lt_bench.data.sources") / MANIFEST).read_text(encoding="utf-8")


def _place(root: Path) -> Path:
    place = next((folder for folder in (root, FOLDER) if folder.is_dir()), None)
    if place is None:
        raise DataError(
            f"OpenClipart-LT: neither {root.absolute()} nor {FOLDER} is there. Install Debian's package with apt-get "
            f"install {PACKAGE}, or point to a folder that holds its folders, such as animals: dataset.root=DIR"
        )
    return place


def _differences(place: Path, drawings: list[Drawing], found: list[Digest]) -> Iterator[Problem]:
    """The files that are missing or are others than in the manifest, after a word on what to do."""
    others = [
        (drawing.name, digest) for drawing, digest in zip(drawings, found, strict=True) if _other(drawing, digest)
    ]
    if others:
        yield Problem(
            str(place),
            0,
            f"{len(others):,} of {len(drawings):,} files are not those of OpenClipart-LT's manifest, which are in "
            f"Debian's package {PACKAGE} 1:0.18+dfsg; install it anew and leave dataset.root to it, or take these "
            "images as your own with dataset=image_folder",
        )
    for name, digest in others:
        yield Problem(str(place), 0, f"{name} {'is another file' if digest.size else 'cannot be read'}")


def _other(drawing: Drawing, digest: Digest) -> bool:
    return not digest.sha256.startswith(drawing.digits)


def _lists(root: Path, drawings: list[Drawing], split: int, problems: list[Problem]) -> ImageLists:
    classes = sorted({drawing.label for drawing in drawings})
    number = {name: label for label, name in enumerate(classes)}

    def part(tested: bool) -> ImageFiles:
        rows = [(line, drawing) for line, drawing in enumerate(drawings) if (str(split) in drawing.tested) == tested]
        labels = np.array([number[drawing.label] for _, drawing in rows], dtype=np.int64)
        places = np.zeros(len(rows), dtype=np.int64)
        return ImageFiles([drawing.name for _, drawing in rows], labels, f"the manifest of split_seed={split}", places)

    return ImageLists(root, part(False), None, part(True), len(classes), problems, classes=classes, class_rule="name")

"""Lists of image files: text lines «path label», CSV files of path,label, or a folder with one subfolder per class."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources.folders import ClassFolders, read_classes
from lt_bench.errors import DataError
from lt_bench.files import read_bytes, read_text

MARK = "\ufeff"  # with which some programs begin a text in UTF-8


class Problem(NamedTuple):
    """A problem of one line of a list (0: of the whole list)."""

    origin: str
    line: int
    what: str

    def __str__(self) -> str:
        place = f"{self.origin}:{self.line}" if self.line else self.origin
        return f"{place}: {self.what}"


class ImageFiles(NamedTuple):
    """The files of one part: paths below the data root, labels (N,) int64, where the list is, and its lines (N,)."""

    names: list[str]
    labels: NDArray[np.int64]
    origin: str
    lines: NDArray[np.int64]

    def take(self, positions: NDArray[np.int64]) -> ImageFiles:
        """The files at some positions, in that order."""
        names = [self.names[position] for position in positions]
        return ImageFiles(names, self.labels[positions], self.origin, self.lines[positions])

    def followed_by(self, others: ImageFiles) -> ImageFiles:
        """These files followed by others, as one list."""
        labels, lines = (np.concatenate(pair) for pair in ((self.labels, others.labels), (self.lines, others.lines)))
        return ImageFiles([*self.names, *others.names], labels, self.origin, lines)

    def sha256(self) -> str:
        """A checksum of paths and labels in their order, whatever the format of the list."""
        digest = hashlib.sha256()
        for name, label in zip(self.names, self.labels.tolist(), strict=True):
            digest.update(f"{name}\0{label}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


class Row(NamedTuple):
    """One image of a list as it is written: line, path below the data root, and the text of its label."""

    line: int
    name: str
    label: str


class Written(NamedTuple):
    """A list as it is written: where it is, its form, its rows, and the problems of lines that are none.

    ``remarks`` are what its reader is told of it although nothing is wrong, ``empty`` the classes whose folders have no
    image.
    """

    origin: str
    form: Literal["folder", "csv", "text"]
    rows: list[Row]
    problems: list[Problem]
    remarks: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


def read_rows(path: Path, root: Path, follow_links: bool = False) -> Written:
    """A text file of lines «path label», a ``.csv`` with the header «path,label», or a folder of folders of classes.

    ``follow_links``: folders of classes may be links out of the root.
    Raises DataError for a list that cannot be read at all.
    """
    problems: list[Problem] = []
    try:
        if path.is_dir():
            return _folder(path, read_classes(path, root, follow_links))
        if path.suffix == ".csv":
            return Written(str(path), "csv", list(_csv_rows(path, problems)), problems)
        return Written(str(path), "text", list(_text_rows(path, problems)), problems)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a list of images ({error})") from error


def read_names(path: Path) -> list[str]:
    """The names in a file, one a line; raises DataError for one that cannot be read or names a class twice."""
    try:
        lines = read_text(path).removeprefix(MARK).splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"dataset.classes={path} cannot be read as names, one a line ({error})") from error
    names = [line.strip() for line in lines if line.strip()]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise DataError(f"dataset.classes={path} names {', '.join(map(repr, sorted(doubled)))} twice; name each once")
    return names


def _folder(path: Path, found: ClassFolders) -> Written:
    rows = [Row(0, name, label) for name, label in found.images]
    problems = [Problem(str(path), 0, what) for what in found.problems]
    return Written(str(path), "folder", rows, problems, tuple(found.remarks), tuple(found.empty))


def _csv_rows(path: Path, problems: list[Problem]) -> Iterator[Row]:
    with io.StringIO(read_bytes(path).decode("utf-8-sig"), newline="") as stream:
        reader = csv.reader(stream)
        if next(reader, None) != ["path", "label"]:
            problems.append(Problem(str(path), 1, "a CSV list begins with the line «path,label»"))
            return
        for cells in reader:
            if len(cells) == 2:
                yield Row(reader.line_num, cells[0], cells[1].strip())
            elif cells:
                problems.append(Problem(str(path), reader.line_num, f"{len(cells)} cells, expected path,label"))


def _text_rows(path: Path, problems: list[Problem]) -> Iterator[Row]:
    for line, text in enumerate(read_text(path).removeprefix(MARK).split("\n"), start=1):
        name, _, label = text.strip().rpartition(" ")  # a path may hold spaces
        if name:
            yield Row(line, name.strip(), label)
        elif label:
            problems.append(Problem(str(path), line, f"{text.strip()!r} is no path and label"))


def numbered(written: Written, numbers: Mapping[str, int]) -> tuple[ImageFiles, list[Problem]]:
    """The files of a list with the numbers of their labels, and the problems of its lines, which are left out.

    Left out are a path that is absolute or leaves the data root, one that is named before, and, without a word here,
    a label that has no number.
    """
    names, labels, lines, problems = [], [], [], list(written.problems)
    first: dict[str, int] = {}
    for row in written.rows:
        if leaves_root(row.name):
            problems.append(Problem(written.origin, row.line, f"{row.name!r} leaves the data root"))
        elif row.label not in numbers:
            continue
        elif row.name in first:
            what = f"{row.name} is named before, in line {first[row.name]}"
            problems.append(Problem(written.origin, row.line, what))
        else:
            first[row.name] = row.line
            names.append(row.name)
            labels.append(numbers[row.label])
            lines.append(row.line)
    files = ImageFiles(names, np.array(labels, dtype=np.int64), written.origin, np.array(lines, dtype=np.int64))
    return files, problems


def leaves_root(name: str) -> bool:
    """Whether a path, read as text, is absolute or goes up; links are judged where the file is opened."""
    unix = name.replace("\\", "/")
    return unix.startswith("/") or unix[1:2] == ":" or ".." in unix.split("/") or "\0" in unix

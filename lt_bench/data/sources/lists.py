"""Lists of image files: text lines «path label», CSV files of path,label, or a folder with one subfolder per class."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.errors import DataError
from lt_bench.files import read_bytes, read_text

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


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
            digest.update(f"{name}\0{label}\n".encode())
        return digest.hexdigest()


class _Row(NamedTuple):
    line: int
    name: str
    label: str


def read_files(
    path: Path, root: Path, num_classes: int, classes: list[str] | None
) -> tuple[ImageFiles, list[str] | None, list[Problem]]:
    """The files that a list names, the names of its classes if it names any, and the problems of its lines.

    ``path`` is a text file of lines «path label», a ``.csv`` with the header «path,label», or a folder with one
    subfolder per class. Folders, and CSV files whose labels are not all numbers, number their classes 0, 1, ... in
    the alphabetical order of their names, or as ``classes``, those of the training list, do. Lines with a problem
    are left out of the files: a label outside 0 .. num_classes - 1, a path that is absolute or leaves the data
    root, a path named before. Raises DataError for a list that cannot be read at all.
    """
    problems: list[Problem] = []
    try:
        if path.is_dir():
            rows, named = list(_folder_rows(path, root)), True
        elif path.suffix == ".csv":
            rows = list(_csv_rows(path, problems))
            named = classes is not None or not all(_is_number(row.label) for row in rows)
        else:
            rows, named = list(_text_rows(path, problems)), False
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a list of images ({error})") from error
    if named and classes is None:
        classes = sorted({row.label for row in rows})
    numbers = {name: number for number, name in enumerate(classes)} if named and classes else None
    files = _checked(rows, str(path), num_classes, numbers, problems)
    return files, classes if named else None, sorted(problems, key=lambda problem: problem.line)


def _folder_rows(folder: Path, root: Path) -> Iterator[_Row]:
    for place in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        for file in sorted(place.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                yield _Row(0, file.relative_to(root).as_posix(), place.name)


def _csv_rows(path: Path, problems: list[Problem]) -> Iterator[_Row]:
    with io.StringIO(read_bytes(path).decode("utf-8"), newline="") as stream:
        reader = csv.reader(stream)
        if next(reader, None) != ["path", "label"]:
            problems.append(Problem(str(path), 1, "a CSV list begins with the line «path,label»"))
            return
        for cells in reader:
            if len(cells) == 2:
                yield _Row(reader.line_num, *cells)
            elif cells:
                problems.append(Problem(str(path), reader.line_num, f"{len(cells)} cells, expected path,label"))


def _text_rows(path: Path, problems: list[Problem]) -> Iterator[_Row]:
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        name, _, label = text.strip().rpartition(" ")  # a path may hold spaces
        if name:
            yield _Row(line, name.strip(), label)
        elif label:
            problems.append(Problem(str(path), line, f"{text.strip()!r} is no path and label"))


def _checked(
    rows: list[_Row], origin: str, num_classes: int, numbers: dict[str, int] | None, problems: list[Problem]
) -> ImageFiles:
    """The rows without a problem, their labels as numbers."""
    names, labels, lines = [], [], []
    first: dict[str, int] = {}
    refused: dict[str, list[int]] = {}  # lines of the classes that have a name and no number
    for row in rows:
        if numbers is not None:
            label = numbers.get(row.label, -1)
        else:
            label = int(row.label) if _is_number(row.label) else -1
        if leaves_root(row.name):
            problems.append(Problem(origin, row.line, f"{row.name!r} leaves the data root"))
        elif not 0 <= label < num_classes:
            if numbers is not None:
                refused.setdefault(row.label, []).append(row.line)
            else:
                what = f"label {row.label!r} is not one of 0 .. {num_classes - 1}"
                problems.append(Problem(origin, row.line, what))
        elif row.name in first:
            problems.append(Problem(origin, row.line, f"{row.name} is named before, in line {first[row.name]}"))
        else:
            first[row.name] = row.line
            names.append(row.name)
            labels.append(label)
            lines.append(row.line)
    problems += _refused(refused, origin, num_classes, numbers or {})
    return ImageFiles(names, np.array(labels, dtype=np.int64), origin, np.array(lines, dtype=np.int64))


def _refused(
    refused: dict[str, list[int]], origin: str, num_classes: int, numbers: dict[str, int]
) -> Iterator[Problem]:
    """One problem for every named class that cannot be taken, at its first line, with the number of its images."""
    for name, lines in refused.items():
        what = f"class {name!r} ({len(lines)} image{'' if len(lines) == 1 else 's'})"
        if name in numbers:
            what += f" is number {numbers[name] + 1} of dataset.num_classes={num_classes}; "
            what += f"set dataset.num_classes={len(numbers)}"
        else:
            what += f" is not among the {len(numbers)} of the training list"
        yield Problem(origin, lines[0], what)


def leaves_root(name: str) -> bool:
    """Whether a path, read as text, is absolute or goes up; links are judged where the file is opened."""
    unix = name.replace("\\", "/")
    return unix.startswith("/") or unix[1:2] == ":" or ".." in unix.split("/") or "\0" in unix


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()

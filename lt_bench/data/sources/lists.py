"""Lists of image files: text lines «path label», CSV files of path,label, or a folder with one subfolder per class."""

from __future__ import annotations

import codecs
import csv
import hashlib
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources.folders import ClassFolders, read_classes
from lt_bench.errors import DataError
from lt_bench.files import read_bytes

MARK = "\ufeff"  # with which some programs begin a text in UTF-8
BLANKS = f" \t\n{MARK}"  # files that were joined have marks inside


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
        lines = read_lines(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a list of images ({error})") from error
    spelling, is_csv = _Spelling(path, root, problems), path.suffix.lower() == ".csv"
    found = _csv_rows(path, lines, problems) if is_csv else _text_rows(path, root, lines, problems)
    rows = [*spelling.of(found)]
    return Written(str(path), "csv" if is_csv else "text", rows, problems, spelling.remarks())


def read_names(path: Path) -> list[str]:
    """The names in a file, one a line; raises DataError for one that cannot be read or names a class twice."""
    try:
        lines = read_lines(path)
    except (OSError, ValueError) as error:
        raise DataError(f"dataset.classes={path} cannot be read as names, one a line ({error})") from error
    names = [name for line in lines if (name := line.strip(BLANKS))]
    if doubled := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(f"dataset.classes={path} names {', '.join(map(repr, doubled))} twice; name each once")
    if not names:
        raise DataError(f"dataset.classes={path} has no line with a name; write the names of the classes, one a line")
    return names


def read_lines(path: Path) -> list[str]:
    """The lines of a list, whatever ends them; bytes that are no UTF-8 stay what they are, as in names of files.

    Raises OSError, and DataError for a file that is no text in UTF-8 or in an encoding that agrees on ASCII.
    """
    data = read_bytes(path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} is text in UTF-16, as its byte-order mark says; save it as UTF-8")
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise DataError(f"{path}:{line}: a NUL byte, so this is no text, or text in UTF-16; save it as UTF-8")
    text = data.decode("utf-8", "surrogateescape")
    return text.removeprefix(MARK).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _folder(path: Path, found: ClassFolders) -> Written:
    rows = [Row(0, name, label) for name, label in found.images]
    problems = [Problem(str(path), 0, what) for what in found.problems]
    return Written(str(path), "folder", rows, problems, tuple(found.remarks), tuple(found.empty))


def _csv_rows(path: Path, lines: list[str], problems: list[Problem]) -> Iterator[Row]:
    """Raises DataError where quotes do not fit, after which no line is sure to be one."""
    reader = csv.reader((f"{line}\n" for line in lines), strict=True, skipinitialspace=True)
    line, header = 1, True
    try:
        for cells in reader:
            bare = [cell.strip(BLANKS) for cell in cells]
            if header and any(bare) and [cell.lower() for cell in bare] != ["path", "label"]:
                problems.append(Problem(str(path), line, _wrong_header(cells)))
                return
            elif header:
                header = not any(bare)  # blank lines may stand above it
            elif any(bare) and len(cells) == 2:
                yield Row(line, *bare)
            elif any(bare):
                problems.append(Problem(str(path), line, f"{len(cells)} cells, expected path,label"))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{line}: no line of a CSV file ({error}); a cell with a comma or a quote in it is "
            'written "a,b" or "a""b"'
        ) from error


def _wrong_header(cells: list[str]) -> str:
    found = ",".join(cells)
    advice = "; separate cells by commas" if len(cells) == 1 and re.search("[;\t|]", found) else ""
    return f"a CSV list begins with the line «path,label», not «{found[:80]}»{advice}"


def _text_rows(path: Path, root: Path, lines: list[str], problems: list[Problem]) -> Iterator[Row]:
    for line, whole in enumerate(lines, start=1):
        words = whole.strip(BLANKS)
        name, _, label = words.replace("\t", " ").rpartition(" ")  # a path may hold spaces
        name = words[: len(name)].rstrip(BLANKS)
        if words.startswith("#") and not _is_there(root, name or words):
            continue  # a comment
        if name:
            yield Row(line, name, label)
        elif words:
            advice = "; lines of path,label are for a file with the suffix .csv" if "," in words else ""
            problems.append(Problem(str(path), line, f"{words!r} is no path and label{advice}"))


class _Spelling:
    """One spelling for the paths of a list, and what was done to them for that."""

    def __init__(self, path: Path, root: Path, problems: list[Problem]) -> None:
        self.path, self.root, self.problems = path, root, problems
        self.turned = 0

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows with paths as they are found below the root; those with a path that is none become problems."""
        for row in rows:
            if row.label and not _is_odd(row.name):
                yield row
                continue
            name, fault = row.name, "" if row.name and row.label else "a line without a path or without a label"
            if "\\" in name and not leaves_root(name) and not _is_there(self.root, name):
                name, self.turned = name.replace("\\", "/"), self.turned + 1
                if self.root.is_dir() and not _is_there(self.root, name):
                    fault = f"{row.name!r} is no file below the root, with \\ or with / for it"
            if _is_no_text(name) and self.root.is_dir() and not _is_there(self.root, name):
                fault = f"{row.name!r} is not written in UTF-8, and no file has this name; save the list as UTF-8"
            if name and not leaves_root(name):
                name = posixpath.normpath(name)
            if fault:
                self.problems.append(Problem(str(self.path), row.line, fault))
            else:
                yield row._replace(name=name)

    def remarks(self) -> tuple[str, ...]:
        """What to say of it, once all rows are read."""
        paths = f"{self.turned:,} path{'' if self.turned == 1 else 's'}"
        return (f"{self.path}: \\ is read as / in {paths}",) if self.turned else ()


def _is_there(root: Path, name: str) -> bool:
    return os.path.lexists(os.path.join(root, name))


def _is_odd(name: str) -> bool:
    """Whether a path has what most have not: backslashes, parts that are idle or empty, bytes that are no text."""
    idle = not name or name[-1] in "/." or "//" in name or "./" in name
    return idle or "\\" in name or not (name.isascii() or name.isprintable()) and _is_no_text(name)


def _is_no_text(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def numbered(written: Written, numbers: Mapping[str, int]) -> tuple[ImageFiles, list[Problem]]:
    """The files of a list with the numbers of their labels, and the problems of its lines, which are left out.

    Left out are a path that is absolute or leaves the data root, one that is named before, and, without a word here,
    a label that has no number.
    """
    names, labels, lines, problems = [], [], [], list(written.problems)
    first: dict[str, tuple[int, str]] = {}
    for row in written.rows:
        if written.form != "folder" and leaves_root(row.name):
            what = f"{row.name!r} is absolute or goes up; write the path below the data root"
            problems.append(Problem(written.origin, row.line, what))
        elif row.label not in numbers:
            continue
        elif row.name in first:
            line, label = first[row.name]
            other = "" if numbers.get(label) == numbers[row.label] else f", with the label {label!r}"
            what = f"{row.name} is named before, in line {line}{other}"
            problems.append(Problem(written.origin, row.line, what))
        else:
            first[row.name] = row.line, row.label
            names.append(row.name)
            labels.append(numbers[row.label])
            lines.append(row.line)
    files = ImageFiles(names, np.array(labels, dtype=np.int64), written.origin, np.array(lines, dtype=np.int64))
    return files, problems


def leaves_root(name: str) -> bool:
    """Whether a path, read as text, is absolute or goes up; links are judged where the file is opened."""
    unix = name.replace("\\", "/")
    drive = re.match("[A-Za-z]:", unix)
    return unix.startswith("/") or drive is not None or ".." in unix.split("/") or "\0" in unix

"""Lists of images as text and CSV, and names of classes: valid ones in every spelling, and what spoils them."""

from __future__ import annotations

import csv
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from lt_bench.data.sources import image_lists
from lt_bench.data.sources.image_lists import describe
from lt_bench.data.sources.lists import BLANKS, read_lines, read_names
from lt_bench.data.splits.split import make_split
from lt_bench.errors import DataError, UsageError
from tests.fuzz.contract import Reader

NAMES = [
    *(f"train/{name}/{number}.png" for name in "abc" for number in range(4)),
    *("train/a/5 6.png", "./train/a/1.png", "train//a/2.png", "train\\b\\3.png", "#2.png", "caf\udce9.png", "é.png"),
    *(
        "../x.png",
        "/etc/passwd",
        "C:a.png",
        "a,b.png",
        'q"q.png',
        "",
        ".",
        "train",
        "x" * 300,
        "a\nb.png",
        "a\0b",
        "a/",
    ),
]
LABELS = [
    "0",
    "1",
    "2",
    "01",
    "1.0",
    "+1",
    "-1",
    "１",
    "9" * 20,
    "3000000",
    "1e3",
    "nan",
    "",
    "a",
    "b",
    "cat",
    "²",
    "\udce9",
]
HEADS = [
    "",
    "path,label",
    "path,label",
    "Path, Label",
    "path;label",
    "image,class",
    "# made by hand",
    "\ufeff",
    "path\tlabel",
]
SUFFIXES = [".txt", ".csv", ".TXT", ".CSV", ".lst"]


class Lists(NamedTuple):
    """The lists of two parts, their suffixes, the names of classes or the word for them, and the number of classes."""

    train: bytes
    test: bytes | None
    suffixes: tuple[str, str]
    classes: bytes | str | None
    num_classes: int | None


@st.composite
def spoiled(draw: DrawFn, text: SearchStrategy[str]) -> bytes:
    """A text in some encoding, with a few of its bytes changed, cut off or repeated."""
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"]))
    escape = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    content = draw(text).encode(encoding, escape)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.sampled_from([0, 1, 5]))
        put = draw(st.one_of(st.binary(max_size=4), st.just(content[start:end] * 2)))
        content = content[:start] + put + content[end:]
    return content


@st.composite
def listed(draw: DrawFn, suffix: str, first: int) -> str:
    """The text of a list of images of three classes, from image ``first`` of each, with a few lines that are others."""
    is_csv = suffix.lower() == ".csv"
    quote, mark = (
        ('"', ",") if is_csv and draw(st.booleans()) else ("", "," if is_csv else draw(st.sampled_from(" \t")))
    )
    label = draw(st.sampled_from([str, str, "{}.0".format, "{:02}".format, *(["abc".__getitem__] if is_csv else [])]))
    rows = [(NAMES[4 * place + number], label(place)) for place in range(3) for number in range(first, first + 2)]
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 3]))):
        place = draw(st.integers(0, len(rows)))
        name, number = rows[place - 1]
        name = draw(st.one_of(st.just(name), st.sampled_from(NAMES), st.text(max_size=6)))
        rows[place - draw(st.integers(0, 1)) : place] = [
            (name, draw(st.one_of(st.just(number), st.sampled_from(LABELS), st.text(max_size=3))))
        ]
    odd = draw(st.integers(0, 4)) == 0
    head = draw(st.sampled_from(HEADS)) if odd else "path,label" if is_csv else "# made by hand"
    mark = draw(st.sampled_from(";, \t")) if odd else mark
    lines = [head, *(f"{quote}{name}{quote}{mark}{label}" for name, label in rows), ""]
    return draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])).join(lines)


classes = st.lists(st.one_of(st.sampled_from(LABELS), st.text(max_size=4)), max_size=5).map("\n".join)
orders = st.one_of(classes, st.sampled_from(["a\nb\nc", "0\n1\n2", "b\r\na\r\nc"]))


@st.composite
def lists(draw: DrawFn) -> Lists:
    """The lists of a data set, most of them nearly right."""
    suffixes = draw(st.sampled_from(SUFFIXES)), draw(st.sampled_from(SUFFIXES))
    return Lists(
        draw(spoiled(listed(suffixes[0], 0))),
        draw(st.one_of(st.none(), spoiled(listed(suffixes[1], 2)))),
        suffixes,
        draw(st.one_of(st.none(), st.none(), st.just("alphabetical"), spoiled(orders))),
        draw(st.sampled_from([None, None, 3, 3, 2, 4])),
    )


@cache
def _folder() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """A folder that lasts as long as the process, with some of the files that are named."""
    lasting = tempfile.TemporaryDirectory(prefix="lt_bench-lists-")
    root = Path(lasting.name) / "root"
    for name in [*NAMES[:13], "#2.png"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return lasting, root


def read_lists(written: Lists) -> None:
    """Read the lists of a data set, and cut what is sound; every line of a sound text or CSV list is an image."""
    root = _folder()[1]
    paths = {
        part: root.parent / f"{part}{suffix}" for part, suffix in zip(("train", "test"), written.suffixes, strict=True)
    }
    paths["train"].write_bytes(written.train)
    if written.test is not None:
        paths["test"].write_bytes(written.test)
    if isinstance(written.classes, bytes):
        (root.parent / "names").write_bytes(written.classes)
    found = image_lists.read(
        root,
        list_dir=str(root.parent),
        train_list=paths["train"].name,
        validation_list=None,
        test_list=None if written.test is None else paths["test"].name,
        num_classes=written.num_classes,
        test_fraction=0.3 if written.test is None else 0.0,
        classes="names" if isinstance(written.classes, bytes) else written.classes,
    )
    found.require_sound()
    for part, files in found.parts().items():
        describe(files, found.num_classes)
        assert len(files.names) == len(set(files.names)) == _images(paths[part], root), (part, files.names)
    fraction = 0.3 if written.test is None else 0.0
    tail = {"factor": None, "profile": "exponential", "seed": 0, "pool_per_class": None, "validation_fraction": 0.0}
    make_split(found.train.labels, found.num_classes, test_fraction=fraction, **tail)  # type: ignore[arg-type]


def _images(path: Path, root: Path) -> int:
    """How many lines of a sound list are no comment, no header and not blank."""
    lines = [line.strip(BLANKS) for line in read_lines(path)]
    if path.suffix.lower() == ".csv":
        return sum(any(cell.strip(BLANKS) for cell in cells) for cells in csv.reader(f"{line}\n" for line in lines)) - 1
    return sum(bool(line) and (line[0] != "#" or line.startswith("#2.png")) for line in lines)


def read_classes(content: bytes) -> None:
    """Read a file of names of classes."""
    path = _folder()[1].parent / "classes"
    path.write_bytes(content)
    names = read_names(path)
    assert names and len(set(names)) == len(names) and all(names)


READERS = {
    "lists": Reader(lists(), read_lists, (DataError, UsageError)),
    "names of classes": Reader(spoiled(classes), read_classes, (DataError,)),
}

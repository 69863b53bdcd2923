"""A folder with one folder per class: its images in their order, and what in it is no image and no class.

Whatever lies in it is an image, a problem, or passed over with a word; names alone decide, but for files with a suffix
that says nothing.

    images       files whose suffix is one of ``IMAGES``, at any depth below the folder of a class
    problems     images in a format that is not read, or under a suffix that says nothing; links out of the root or to
                 nowhere
    passed over  hidden files and folders, those of tools, files that are no images, files beside the folders of
                 classes, and links that lead back to where they lie in
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lt_bench.files import open_regular

IMAGES = frozenset(".jpg .jpeg .jpe .jfif .jif .mpo .png .apng .webp .bmp .tif .tiff .gif .ppm .pgm .pbm .pnm".split())
NOT_READ = frozenset(
    ".heic .heif .hif .avif .avifs .jp2 .j2c .jpc .jpf .j2k .jpx .jxl .jxr .ico .svg .svgz .tga .psd .eps .exr "
    ".hdr .pfm .dib .pcx .qoi .dds .xcf .pam .sgi .ras .xpm .xbm .bpg .dcm .nii .fits .raw .cr2 .cr3 .nef .arw "
    ".dng .orf .rw2 .raf .pef .srw".split()
)
# of what is said of images in a file beside each: where the first is no image, the others are not opened
BESIDE = frozenset(".txt .xml .json .jsonl .csv .md .html .yaml .yml .xmp .log .npy .npz .mat .pt .pkl".split())
# in small letters; names that begin with a dot are hidden ones
TOOLS = frozenset(
    "__macosx __pycache__ @eadir @recycle @tmp #recycle #snapshot $recycle.bin lost+found cvs thumbs.db ehthumbs.db "
    "desktop.ini icon\r".split(" ")
) | {"system volume information"}
# of files of images: the first bytes, and what stands at a later place
BEGINNINGS: tuple[tuple[bytes, int, bytes | tuple[bytes, ...]], ...] = (
    *((start, 0, b"") for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")),
    (b"RIFF", 8, b"WEBP"),
    (b"BM", 6, b"\0\0\0\0"),
    *((b"P%d" % number, 2, (b"\n", b" ", b"\r", b"\t")) for number in range(1, 7)),
    (b"\0\0\0\x0cjP  ", 0, b""),
    (b"\0\0\0", 4, (b"ftypavif", b"ftypavis", b"ftypheic", b"ftypheix", b"ftypmif1")),
)
NOWHERE = "is a link that leads nowhere; bring back what it leads to, or delete it"
SHOWN = 3


class ClassFolders(NamedTuple):
    """What a folder of classes holds: paths of images below the root with their class, and classes without images.

    ``problems`` and ``remarks`` are in words.
    """

    images: list[tuple[str, str]]
    empty: list[str]
    problems: list[str]
    remarks: list[str]


def read_classes(folder: Path, root: Path, follow_links: bool = False) -> ClassFolders:
    """The images of every class in alphabetical order.

    Raises OSError for a folder that cannot be read, ValueError for one that is not below the root.
    """
    above = _below(folder, root)
    limit = None if follow_links else os.path.realpath(root)
    images, empty, notes = list[tuple[str, str]](), list[str](), _Notes()
    classes = []
    for entry in _sorted_entries(str(folder)):
        if _is_hidden(entry.name):
            notes.hidden.append(entry.name)
        elif _leads_nowhere(entry):
            notes.problems.append(f"{entry.name} {NOWHERE}")
        elif entry.is_symlink() and _is_below(os.path.realpath(folder), os.path.realpath(entry.path)):
            notes.circles.append(entry.name)
        elif entry.is_dir():
            classes.append(entry.name)
        else:
            notes.beside.append(entry.name)
    for name in classes:
        found = list(_images_of(str(folder), name, limit, notes))
        images += [("/".join((above, *parts)).removeprefix("./"), name) for parts in sorted(found)]
        if not found:
            empty.append(name)
    if not classes:
        notes.problems.append(f"no folder in it; it is to hold one folder for each class{_first(notes.beside)}")
    return ClassFolders(images, empty, notes.problems, list(notes.remarks()))


def _below(folder: Path, root: Path) -> str:
    """The path of a folder below the root; ValueError where that is none without going up."""
    above = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else ".."
    if ".." in above.split("/"):
        raise ValueError(
            f"a folder of classes is named by its path below dataset.root={root}; set dataset.root to the folder that "
            "all parts lie in"
        )
    return above


def holds_folders(folder: Path) -> bool:
    """Whether a folder may be one of folders of classes: it holds a folder, or cannot be read."""
    try:
        return any(entry.is_dir() and not _is_hidden(entry.name) for entry in _sorted_entries(str(folder)))
    except OSError:
        return True


class _Notes:
    """What is no image, as it is found."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.hidden: list[str] = []
        self.circles: list[str] = []
        self.beside: list[str] = []
        self.others: Counter[str] = Counter()

    def remarks(self) -> Iterator[str]:
        """All that was passed over in one remark, if anything was."""
        kinds = []
        if self.hidden:
            kinds.append(f"{_count(self.hidden, 'name')} hidden or of a tool{_first(self.hidden)}")
        if self.others:
            suffixes = ", ".join(f"{suffix or 'no suffix'} {count:,}" for suffix, count in self.others.most_common())
            kinds.append(f"{self.others.total():,} that are no images ({suffixes})")
        if self.beside:
            kinds.append(f"{len(self.beside):,} beside the folders of classes{_first(self.beside)}")
        if self.circles:
            kinds.append(f"{_count(self.circles, 'link')} to folders that are read anyway{_first(self.circles)}")
        if kinds:
            yield f"passed over {'; '.join(kinds)}"


def _images_of(folder: str, label: str, root: str | None, notes: _Notes) -> Iterator[tuple[str, ...]]:
    """The images of a class by the parts of their paths below the folder of classes; every folder is read once.

    Links out of ``root`` are problems; None: there is no such limit. Links are read last.
    """
    top = os.path.realpath(f"{folder}/{label}")
    unread: list[tuple[str, ...]] = [(label,)]
    links, read = list[tuple[str, ...]](), set[str]()
    others: dict[str, list[str]] = {}
    outside: list[str] = []
    while unread or links:
        parts = unread.pop() if unread else links.pop(0)
        place = os.path.realpath("/".join((folder, *parts)))
        if _leads_out(place, root):
            outside.append("/".join(parts))
            continue
        if place in read or (len(parts) > 1 and place != top and _is_below(top, place)):
            notes.circles.append("/".join(parts))
            continue
        read.add(place)
        for entry in _sorted_entries("/".join((folder, *parts))):
            inside = (*parts, entry.name)
            if _is_hidden(entry.name):
                notes.hidden.append("/".join(inside))
            elif _leads_nowhere(entry):
                notes.problems.append(f"{'/'.join(inside)} {NOWHERE}")
            elif entry.is_dir():
                (links if entry.is_symlink() else unread).append(inside)
            elif entry.is_symlink() and _leads_out(os.path.realpath(entry.path), root):
                outside.append("/".join(inside))
            elif (suffix := os.path.splitext(entry.name)[1].lower()) in IMAGES:
                yield inside
            else:
                others.setdefault(suffix, []).append("/".join(inside))
    if outside:
        what = f"class {label!r}: {_count(outside, 'link')} out of the data root{_first(outside)}"
        notes.problems.append(f"{what}; dataset.follow_links=true reads them")
    for suffix, names in sorted(others.items()):
        images = names if suffix in NOT_READ else _images_among(folder, suffix, names)
        if images:
            notes.problems.append(_not_read(label, suffix, images))
        if others_of_it := len(names) - len(images):
            notes.others[suffix] += others_of_it


def _sorted_entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in TOOLS


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _leads_out(path: str, root: str | None) -> bool:
    return root is not None and not _is_below(path, root)


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder


def _images_among(folder: str, suffix: str, names: list[str]) -> list[str]:
    """Those of some files, all with one suffix that says nothing, that begin as images do."""
    if suffix in BESIDE and not _is_image(f"{folder}/{names[0]}"):
        return []
    return [name for name in names if _is_image(f"{folder}/{name}")]


def _is_image(path: str) -> bool:
    """Whether a file begins as an image does."""
    try:
        with open_regular(path) as stream:
            start = stream.read(16)
    except OSError:
        return False
    return any(start.startswith(name) and start[place:].startswith(kinds) for name, place, kinds in BEGINNINGS)


def _not_read(label: str, suffix: str, names: list[str]) -> str:
    what = f"class {label!r}: {_count(names, 'image')} "
    what += f"with the suffix {suffix}" if suffix else "without a suffix"
    advice = "save as JPEG or PNG" if suffix in NOT_READ else "give a suffix such as .jpg to"
    return f"{what}{_first(names)}; {advice} what is meant, and delete what is not"


def _count(names: list[str], what: str) -> str:
    return f"{len(names):,} {what}{'' if len(names) == 1 else 's'}"


def _first(names: Iterable[str]) -> str:
    """The first few of some names, in brackets."""
    shown = [*names]
    more = f" and {len(shown) - SHOWN:,} more" if len(shown) > SHOWN else ""
    return f" ({', '.join(shown[:SHOWN])}{more})" if shown else ""

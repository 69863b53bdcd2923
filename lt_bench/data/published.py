"""The published lists of data sets, and whether a list is one of them, however its paths and line ends are written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path

from omegaconf import OmegaConf

from lt_bench.data.sources.lists import ImageFiles
from lt_bench.files import read_bytes
from lt_bench.published.lists import counted, prefixes, published_lists

SHOWN = 12  # digits of a checksum in a message


def is_published(dataset: str) -> bool:
    """Whether a data set has published lists or counts."""
    return dataset in counted() or has_lists(dataset)


def has_lists(dataset: str) -> bool:
    """Whether a data set has published lists."""
    return bool(published_lists(dataset))


def published_part(dataset: str, files: ImageFiles) -> str | None:
    """The part of a published data set that a list is the published list of; None where it is another list.

    It is the published one where its git blob id is, as it lies there, with other line ends, or with another folder
    in its paths, or where its sorted lines «file name label» have the published SHA-256. A data set without lists is
    known by its counts.
    """
    if dataset in counted():
        return "counts" if len(files.names) in published_counts(dataset).values() else None
    known = published_lists(dataset)
    blobs, sums = {one.blob: one.part for one in known}, {one.normalised_sha256: one.part for one in known}
    if not known:
        return None
    if part := next((blobs[found] for found in map(blob, _as_written(Path(files.origin))) if found in blobs), None):
        return part
    return sums.get(normalised(files)) or next(
        (blobs[found] for found in map(blob, _respelt(files, prefixes())) if found in blobs), None
    )


def what_differs(dataset: str, part: str, files: ImageFiles) -> str:
    """What tells a list from the published one of a part, as far as that is known."""
    known = [one for one in published_lists(dataset) if one.part == part]
    if not known:
        return "there is no published list of it to compare with"
    if counts := {one.images for one in known if one.images is not None} - {len(files.names)}:
        return f"{len(files.names):,} images, the published list has {max(counts):,}"
    if all(one.normalised_sha256 is None for one in known):
        found = next(map(blob, _as_written(Path(files.origin))), "none, as a folder")
        return f"its git blob is {found[:SHOWN]}, not one of {', '.join(one.blob[:SHOWN] for one in known)}"
    sums = {str(one.normalised_sha256)[:SHOWN] for one in known}
    return f"SHA-256 of its sorted lines «file name label» {normalised(files)[:SHOWN]}, not {' or '.join(sorted(sums))}"


def is_expected(dataset: str, part: str, published: str) -> bool:
    """Whether a published list is what a part of its data set is to be: its own, or that which is used for it."""
    own = {one.part for one in published_lists(dataset)}
    return published in ("counts", part if part in own else {"probe": "train", "test": "validation"}.get(part, part))


@cache
def published_counts(dataset: str) -> dict[str, int]:
    """The images of the parts of a published data set, as far as the file of the data set has them."""
    text = (package_files("lt_bench.conf") / "dataset" / f"{dataset}.yaml").read_text(encoding="utf-8")
    values = OmegaConf.create(text).dataset
    counts = {part: values.get(f"{part}_images") for part in ("train", "validation", "test")}
    return {part: count for part, count in counts.items() if count is not None}


def blob(content: bytes) -> str:
    """The id that git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def normalised(files: ImageFiles) -> str:
    """A checksum that depends on neither the folders of a list nor the order of its lines."""
    lines = [
        f"{name.rpartition('/')[2]} {label}" for name, label in zip(files.names, files.labels.tolist(), strict=True)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _as_written(path: Path) -> Iterator[bytes]:
    """The content of a list, also with the line ends of the published ones."""
    if path.is_file():
        content = read_bytes(path)
        yield content
        plain = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n")
        yield from (plain, plain + b"\n")


def _respelt(files: ImageFiles, prefixes: set[str]) -> Iterator[bytes]:
    """The content of a list with each of some folders instead of the one that its paths share."""
    if not files.names:
        return
    shared = os.path.commonprefix(files.names).rpartition("/")[0]
    rows = [
        f"{name[len(shared) :].lstrip('/')} {label}"
        for name, label in zip(files.names, files.labels.tolist(), strict=True)
    ]
    for prefix in sorted(prefixes):
        content = "".join(f"{prefix}{row}\n" for row in rows).encode("utf-8", "surrogateescape")
        yield from (content, content.rstrip(b"\n"))

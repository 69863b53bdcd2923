"""What a data set is known by, beside its name: the content of its images, or its published lists; without PyTorch.

Rules, whose name is a part of what is known:

    bytes      own images: the label and the SHA-256 of every file, in their order; wherever and under whatever names
    sample     own images, more than ``MANY`` files or by dataset.content_rule: label, size and path of every file, and
               the SHA-256 of every ``len / SAMPLE``-th
    published  a list of a published data set that is the published one, whatever the folder in its paths
    list       any other list of a published data set: the file name and label of every line
    arrays     images in memory, from a function that is not of this package: pixels and labels, known once it has run
    files_...  what such a function may read: "bytes" or "sample" of all files below dataset.root that are not hidden,
               with their paths

Data sets that this package reads from archives are verified by checksums whenever they are read, and need no rule.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.config.schema import Config
from lt_bench.data.files.digests import UNREADABLE, Digest, digests
from lt_bench.data.published import is_published, published_part
from lt_bench.data.source import data_root, read_with_package, settings
from lt_bench.data.sources.common import ImageArrays
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import ImageFiles
from lt_bench.errors import DataError

LISTS = "lt_bench.data.sources.image_lists.read"
OURS = "lt_bench."
MANY, SAMPLE = 250_000, 4096
DIGITS = 16  # of a digest that stands in records


class Known(NamedTuple):
    """What a part is known by: the rule, a digest, and the published list that it is, if it is one."""

    rule: str
    digest: str
    published: str | None = None

    def __str__(self) -> str:
        return f"{self.rule}:{self.digest}"


class Look(NamedTuple):
    """A data set as it was found: its lists, where it has some that can be read, and what each part is known by."""

    lists: ImageLists | None
    parts: dict[str, Known]

    def identity(self) -> dict[str, str]:
        """What belongs to the identity of a run, by part: nothing where a list is the published one."""
        return {part: str(known) for part, known in self.parts.items() if known.published is None}


_looks: dict[str, Look] | None = None


@contextmanager
def looked_at_once() -> Iterator[None]:
    """A block in which every data set is looked at once, so that all runs of a plan, or all parts of a run, agree."""
    global _looks
    outer, _looks = _looks, {} if _looks is None else _looks
    try:
        yield
    finally:
        _looks = outer


def look(config: Config) -> Look:
    """What a data set is known by now: nothing where it is not there, or is verified whenever it is read.

    Nothing that the config names is executed. Raises DataError for a packed copy that cannot be used or has other
    images than the files beside it, UsageError for one in another form.
    """
    data = config.dataset
    if _is_verified(config):
        return Look(None, {})
    key = repr((data.name, data._target_, data_root(config).absolute(), settings(config), _reading(config)))
    if _looks is not None and key in _looks:
        return _looks[key]
    found = _lists(config) if data._target_ == LISTS else Look(None, _below_root(config))
    if _looks is not None:
        _looks[key] = found
    return found


def changed_since(config: Config) -> bool:
    """Whether the images of the first look in a block have changed since; which classes and files there are is kept."""
    if _is_verified(config):
        return False
    first = look(config)
    return first.parts != (_below_root(config) if first.lists is None else _parts(config, first.lists))


def depends_on_files(config: Config) -> bool:
    """Whether a data set may be another one tomorrow."""
    return not _is_verified(config)


def of_source(config: Config, source: ImageArrays | ImageLists) -> dict[str, Known]:
    """What the parts of a source that was read are known by."""
    if _is_verified(config):
        return {}
    if isinstance(source, ImageLists):
        found = look(config)
        return found.parts if source is found.lists else _parts(config, source)
    arrays = {"train": (source.train_images, source.train_labels), "test": (source.test_images, source.test_labels)}
    return {part: Known("arrays", _digest(_bytes(array) for array in both)) for part, both in arrays.items()}


def is_made_elsewhere(config: Config) -> bool:
    """Whether a function that is not of this package makes the data set, from whatever it reads."""
    return not config.dataset._target_.startswith(OURS)


def _is_verified(config: Config) -> bool:
    target = config.dataset._target_
    return target.startswith(OURS) and target != LISTS


def _reading(config: Config) -> tuple[Any, ...]:
    data = config.dataset
    return data.packed, data.short_side, data.jpeg_quality, data.content_rule


def _lists(config: Config) -> Look:
    try:
        lists = read_with_package(config)
    except (DataError, OSError):
        return Look(None, {})  # they stop the run when it reads them
    return Look(lists, _parts(config, lists))


def _parts(config: Config, lists: ImageLists) -> dict[str, Known]:
    """The rule of every part of some lists, by whether it is published, counted as published or one's own."""
    data, parts = config.dataset, lists.parts()
    found = {part: published_part(data.name, files) for part, files in parts.items()}
    known = {part: Known("list", _of_list(files), found[part]) for part, files in parts.items()}
    if data.train_images is not None and is_published(data.name):
        return known
    rule = data.content_rule
    if rule == "auto":
        rule = "bytes" if sum(len(files.names) for files in parts.values()) <= MANY else "sample"
    for part in (part for part in parts if found[part] is None):
        labels = map(str, parts[part].labels.tolist())
        made_of = _packed(config, lists.root, parts[part].names)
        known[part] = Known(rule, _of_files(config, lists.root, parts[part].names, labels, rule, made_of))
    return known


def _of_list(files: ImageFiles) -> str:
    rows = zip(files.names, files.labels.tolist(), strict=True)
    return _digest(f"{name.rpartition('/')[2]} {label}\n".encode() for name, label in rows)


def _of_files(
    config: Config, root: Path, names: Sequence[str], words: Iterable[str], rule: str, made_of: list[Digest] | None
) -> str:
    """A digest of files and a word on each: by all their bytes, or by names, sizes and a sample.

    ``made_of`` are the digests of files that a packed copy was made of, which then stands for the files.
    """
    below, shown = os.path.realpath(root), config.progress and os.environ.get("RANK", "0") == "0"
    if rule == "bytes":
        found = made_of or digests(below, names, shown)
        _same_as_packed(config, below, names, made_of, shown)
        return _digest(f"{word} {one.sha256}\n".encode() for word, one in zip(words, found, strict=True))
    every = slice(None, None, max(1, -(-len(names) // SAMPLE)))
    sampled = made_of[every] if made_of else digests(below, names[every], shown)
    _same_as_packed(config, below, names[every], sampled if made_of else None, shown)
    sizes = [one.size for one in made_of] if made_of else [_size(f"{below}/{name}") for name in names]
    rows = (f"{word} {size} {name}\n" for word, size, name in zip(words, sizes, names, strict=True))
    return _digest([*(row.encode(errors="surrogateescape") for row in rows), *(one.sha256.encode() for one in sampled)])


def _packed(config: Config, root: Path, names: list[str]) -> list[Digest] | None:
    """The digests of the files that a packed copy was made of, where the images are read from one."""
    if config.dataset.packed is None:
        return None
    from lt_bench.data.files.packed import PackedImages  # with a decoder of images, which few commands need
    from lt_bench.data.files.pixels import open_images

    images = open_images(config, root, names)
    return images.made_of() if isinstance(images, PackedImages) else None


def _same_as_packed(config: Config, root: str, names: Sequence[str], made_of: list[Digest] | None, shown: bool) -> None:
    """Raise DataError where files that lie beside a packed copy are not those that it was made of."""
    if made_of is None:
        return
    there = [place for place, name in enumerate(names) if os.path.exists(f"{root}/{name}")]
    now = digests(root, [names[place] for place in there], shown)
    pairs = [(names[place], made_of[place].sha256, one.sha256) for place, one in zip(there, now, strict=True)]
    if others := [name for name, packed, file in pairs if packed not in (file, UNREADABLE)]:
        raise DataError(
            f"{len(others)} of {len(names)} images are others than in the packed copy {config.dataset.packed}, the "
            f"first {others[0]} in {root}: write the copy anew with python -m lt_bench.data prepare, or read the files "
            "with dataset.packed=null"
        )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _below_root(config: Config) -> dict[str, Known]:
    """All files below the root of a data set that a function reads in a way of its own; nothing where there is none."""
    root = data_root(config)
    names = sorted(_names_below(root, Path(config.output_dir).expanduser().resolve()))
    if not names:
        return {}
    rule = config.dataset.content_rule
    if rule == "auto":
        rule = "bytes" if len(names) <= MANY else "sample"
    return {"files": Known(f"files_{rule}", _of_files(config, root, names, names, rule, None))}


def _names_below(root: Path, left_out: Path) -> Iterator[str]:
    seen = set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or real == str(left_out):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [folder for folder in folders if not folder.startswith((".", "__pycache__"))]
        inside = os.path.relpath(place, root)
        yield from (file if inside == "." else f"{inside}/{file}" for file in files if not file.startswith("."))


def _bytes(array: NDArray[Any]) -> bytes:
    return f"{array.dtype.str} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes()


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()[:DIGITS]

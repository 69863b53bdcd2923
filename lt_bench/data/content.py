"""What a data set is known by, beside its name: the content of its images, or its published lists; without PyTorch.

Rules, whose name is a part of what is known:

    bytes      own images: the label and the SHA-256 of every file, in their order; wherever and under whatever names
    sample     own images, more than ``MANY`` files or by dataset.content_rule: label, size and path of every file, and
               the SHA-256 of every ``len / SAMPLE``-th
    published  a list of a published data set that is the published one, whatever the folder in its paths
    list       any other list of a published data set: the file name and label of every line
    arrays     images in memory, from a function that is not of this package: pixels and labels, known once it has run
    files_...  what such a function may read, and scenes in files: "bytes" or "sample" of all files below dataset.root
               that are not hidden, with their paths

Data sets that this package reads from archives are verified by checksums whenever they are read, and need no rule.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.config.schema import Config
from lt_bench.data.files.digests import UNREADABLE
from lt_bench.data.known_files import KnownFiles, Named, digest_of_rows, known_files
from lt_bench.data.published import is_expected, is_published, published_counts, published_part
from lt_bench.data.source import READER, data_root, read_with_package, settings
from lt_bench.data.sources.common import ImageArrays, SceneArrays
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import ImageFiles
from lt_bench.data.sources.scene_folders import SceneFolders
from lt_bench.errors import DataError, UsageError

LISTS = "lt_bench.data.sources.image_lists.read"
SCENES = "lt_bench.data.sources.scene_folders."  # known by all files below their root
OURS = "lt_bench."
SOON = 10.0  # seconds


class Known(NamedTuple):
    """What a part is known by: the rule, a digest, and the published list that it is, if it is one.

    ``as_expected``: that list is the one that the part of this data set is to be.
    """

    rule: str
    digest: str
    published: str | None = None
    as_expected: bool = False

    def __str__(self) -> str:
        return f"{self.rule}:{self.digest}"


class Look(NamedTuple):
    """A data set as it was found: its lists, where it has some that can be read, and what each part is known by.

    ``files`` are those that were read for that; ``time`` is when, in seconds.
    """

    lists: ImageLists | None
    parts: dict[str, Known]
    files: KnownFiles | None = None
    time: float = 0.0

    def identity(self) -> dict[str, str]:
        """What belongs to the identity of a run, by part: nothing where a list is the published one of that part."""
        return {part: str(known) for part, known in self.parts.items() if not known.as_expected}


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
    key = repr((data.name, data._target_, data_root(config).absolute(), settings(config, READER), _reading(config)))
    if _looks is not None and key in _looks:
        return _looks[key]
    start = time.monotonic()
    found = (_lists(config) if data._target_ == LISTS else _below_root(config))._replace(time=start)
    if _looks is not None:
        _looks[key] = found
    return found


def number_of_classes(config: Config) -> int:
    """The number of classes, read from the lists of a data set of files where it is not given.

    Raises DataError where these cannot be read, and UsageError for a data set of another kind.
    """
    data = config.dataset
    if data.num_classes is not None:
        return data.num_classes
    if data._target_ != LISTS:
        raise UsageError(
            "dataset.num_classes has no value, and only lists of image files tell it; set dataset.num_classes=VALUE"
        )
    lists = look(config).lists or read_with_package(config)
    if lists.num_classes < 1:
        lists.require_sound()
    return lists.num_classes


def changed_since(config: Config) -> bool:
    """Whether the images of the first look in a block have changed since; which classes and files there are is kept.

    After a few seconds nobody looks again.
    """
    if _is_verified(config):
        return False
    first = look(config)
    if first.files is None or time.monotonic() - first.time < SOON or first.files.untouched():
        return False
    return first.parts != (_below_root(config) if first.lists is None else _look_at(config, first.lists)).parts


def knows_every_file(config: Config) -> bool:
    """Whether the images are known by all their bytes, so that each was read whole before the run begins."""
    files = look(config).files
    return files is not None and files.rule == "bytes"


def contents_of_files(config: Config) -> dict[str, str]:
    """The digests of the files that images are read from, by name, as far as these were read for what they make known.

    None of images that are read from a packed copy, whatever lies beside it.
    """
    files = look(config).files
    if files is None or config.dataset.packed is not None:
        return {}
    return {name: digest.sha256 for name, digest in files.read.items() if digest.sha256 != UNREADABLE}


def depends_on_files(config: Config) -> bool:
    """Whether a data set may be another one tomorrow."""
    return not _is_verified(config)


def of_source(config: Config, source: ImageArrays | SceneArrays | SceneFolders | ImageLists) -> dict[str, Known]:
    """What the parts of a source that was read are known by."""
    if _is_verified(config):
        return {}
    if isinstance(source, ImageLists):
        found = look(config)
        return (found if source is found.lists else _look_at(config, source)).parts
    if isinstance(source, SceneFolders):
        return look(config).parts
    parts = source.parts().items()
    return {part: Known("arrays", digest_of_rows(_sha256(array) for array in both)) for part, both in parts}


def is_made_elsewhere(config: Config) -> bool:
    """Whether a function that is not of this package makes the data set, from whatever it reads."""
    return not config.dataset._target_.startswith(OURS)


def _is_verified(config: Config) -> bool:
    target = config.dataset._target_
    return target.startswith(OURS) and target != LISTS and not target.startswith(SCENES)


def _reading(config: Config) -> tuple[Any, ...]:
    data = config.dataset
    return data.packed, data.short_side, data.jpeg_quality, data.content_rule


def _lists(config: Config) -> Look:
    try:
        lists = read_with_package(config)
    except (DataError, OSError):
        return Look(None, {})  # they stop the run when it reads them
    return _look_at(config, lists)


def _look_at(config: Config, lists: ImageLists) -> Look:
    """The rule of every part of some lists, by whether it is published, counted as published or one's own."""
    data, parts = config.dataset, lists.parts()
    published, own = dict[str, Known](), parts
    if is_published(data.name):
        found = {part: published_part(data.name, files) for part, files in parts.items()}
        for part, listed in parts.items():
            expected = found[part] is not None and is_expected(data.name, part, str(found[part]))
            published[part] = Known("list", _of_list(listed), found[part], expected)
        counted = data.train_images == published_counts(data.name).get("train")
        own = {part: files for part, files in parts.items() if not counted and found[part] is None}
    named = {part: Named(files.names, files.labels.tolist()) for part, files in own.items()}
    files = known_files(config, lists.root, named) if named else None
    known = {part: Known(files.rule, digest) for part, digest in files.parts.items()} if files else {}
    return Look(lists, {**published, **known}, files)


def _of_list(files: ImageFiles) -> str:
    rows = zip(files.names, files.labels.tolist(), strict=True)
    return digest_of_rows(f"{name.rpartition('/')[2]} {label}" for name, label in rows)


def _below_root(config: Config) -> Look:
    """All files below the root of a data set that a function reads in a way of its own; nothing where there is none."""
    root = data_root(config)
    names = sorted(_names_below(root, Path(config.output_dir).expanduser().resolve()))
    if not names:
        return Look(None, {})
    files = known_files(config, root, {"files": Named(names, names)})
    return Look(None, {"files": Known(f"files_{files.rule}", files.parts["files"])}, files)


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


def _sha256(array: NDArray[Any]) -> str:
    values = np.ascontiguousarray(array)
    return f"{values.dtype.str} {values.shape} {hashlib.sha256(values.data).hexdigest()}"

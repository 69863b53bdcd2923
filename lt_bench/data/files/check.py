"""All that is to be said of a data set of image files before a run fails on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from lt_bench.config.schema import Config
from lt_bench.data.files.parallel import in_parallel
from lt_bench.data.files.pixels import FileImages, PixelSource, open_images
from lt_bench.data.files.rgb import BadImage
from lt_bench.data.same_images import same_images
from lt_bench.data.source import read_source
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import ImageFiles, Problem
from lt_bench.data.splits.cut import cut
from lt_bench.errors import UsageError


class Findings(NamedTuple):
    """Problems, sorted by list and line, and what is to be said of images that can be used."""

    problems: list[Problem]
    remarks: list[str]


class Examined(NamedTuple):
    """An image: its problem, if it has one, what its pixels are known by, and what their conversion drops of it."""

    problem: str | None = None
    pixels: str | None = None
    dropped: str | None = None


def read_lists(config: Config) -> ImageLists:
    """The lists of a data set; raises UsageError for one that is not made of files, DataError as ``read`` does."""
    found = read_source(config)
    if not isinstance(found, ImageLists):
        raise UsageError(
            f"dataset={config.dataset.name} is verified whenever it is read; name a data set of image files"
        )
    return found


def examine(config: Config, lists: ImageLists, workers: int) -> Findings:
    """The problems of the lists and of every image they name, and what of them is there twice; shows its progress.

    Images are read where a run would read them: from their files, or from the packed copy.
    """
    problems, remarks, contents = list(lists.problems), list[str](), dict[str, list[str | None]]()
    for part, files in lists.parts().items():
        each = partial(_examine, open_images(config, lists.root, files.names))
        examined = list(in_parallel(each, range(len(files.names)), workers, f"checking {part}", config.progress))
        problems += [
            Problem(files.origin, line, one.problem)
            for line, one in zip(files.lines.tolist(), examined, strict=True)
            if one.problem is not None
        ]
        contents[part] = [one.pixels for one in examined]
        remarks += _dropped(part, files, examined)
    return Findings(
        sorted(problems, key=lambda problem: (problem.origin, problem.line)),
        [*remarks, *(f"warning: {one}" for one in same_images(*_as_cut(config, lists, contents), lists.class_name))],
    )


def _as_cut(
    config: Config, lists: ImageLists, contents: dict[str, list[str | None]]
) -> tuple[dict[str, ImageFiles], dict[str, list[str | None]]]:
    """The parts and what their images are known by, with those that are cut from the training images."""
    train, found = lists.train, lists.parts()
    try:
        split = cut(config, train.labels, lists.num_classes)
    except UsageError:  # the command says so, after all problems
        return found, contents
    aside = {"test": split.test, "validation": split.validation}
    aside = {part: positions for part, positions in aside.items() if len(positions)}
    left = np.setdiff1d(np.arange(len(train.names)), np.concatenate([*aside.values(), []]))
    known = dict(contents)
    for part, positions in {**aside, "train": left}.items():
        found[part] = train.take(positions)
        known[part] = [contents["train"][position] for position in positions.tolist()]
    return found, known


def _examine(images: PixelSource, position: int) -> Examined:
    try:
        pixels, dropped = images.examine(position) if isinstance(images, FileImages) else (images[position], None)
    except BadImage as error:
        return Examined(problem=str(error))
    known = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    known.update(pixels.tobytes())
    return Examined(pixels=known.hexdigest(), dropped=dropped)


def _dropped(part: str, files: ImageFiles, examined: list[Examined]) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for name, one in zip(files.names, examined, strict=True):
        if one.dropped is not None:
            found.setdefault(one.dropped, []).append(name)
    for what, names in found.items():
        count = f"{len(names):,} image{'' if len(names) == 1 else 's'}"
        yield f"{part}: {count} with {what} (dataset.pixels=plain), the first {names[0]}"

"""Data sets of scenes in their published layout: a folder of images and one of masks for each part."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources import scene_counts
from lt_bench.data.sources.folders import IMAGES, NOT_READ
from lt_bench.errors import DataError
from lt_bench.models.masks import NO_LABEL

UNKNOWN = -1  # what a value stands for that no mask of the data set has
COCO_IDS = 182  # stored classes, with eleven gaps
COCO_GAPS = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
CONVERTED = "_labelTrainIds"  # the end of the names of COCO-Stuff's masks whose values are classes already
Tables = dict[str, NDArray[np.int16]]


class SceneFiles(NamedTuple):
    """A part: names of images and of their masks below the root, in the same order."""

    images: list[str]
    masks: list[str]


class SceneFolders(NamedTuple):
    """A data set of scenes in files, of which none is read yet.

    ``tables`` (256,) int16 say for every value of a mask which class it is, ``NO_LABEL`` or ``UNKNOWN``, by the end of
    the names of the masks that each is for; ``image_counts`` are those of the published training part, None for another
    number of images; ``problems`` are files that belong to no other, ``remarks`` parts of another size than published.
    """

    root: Path
    train: SceneFiles
    test: SceneFiles
    num_classes: int
    tables: Tables
    image_counts: list[int] | None
    problems: list[str]
    remarks: list[str]

    def parts(self) -> dict[str, SceneFiles]:
        """The parts by name."""
        return {"train": self.train, "test": self.test}


def ade20k(root: Path) -> SceneFolders:
    """SceneParse150: masks of 0 for no label and 1..150 for the classes.

    Source: Zhou et al., CVPR 2017, as published.  Raises DataError where a folder is missing or empty.
    """
    table = np.full(256, UNKNOWN, dtype=np.int16)
    table[:151] = np.arange(-1, 150)
    table[[0, NO_LABEL]] = NO_LABEL
    return _found(root, {"training": 20_210, "validation": 2_000}, {"": table}, scene_counts.ADE20K)


def coco_stuff_164k(root: Path) -> SceneFolders:
    """COCO-Stuff: masks of 182 ids with gaps, 255 for no label, or converted ones, whose values are the 171 classes.

    An image with both has the former. Source: Caesar et al., CVPR 2018, as published (stuffthingmaps).  Raises
    DataError where a folder is missing or empty.
    """
    classes = np.arange(256, dtype=np.int16)
    classes[171:NO_LABEL] = UNKNOWN
    tables = {CONVERTED: classes, "": _coco_table()}
    return _found(root, {"train2017": 118_287, "val2017": 5_000}, tables, scene_counts.COCO_STUFF_164K)


def _coco_table() -> NDArray[np.int16]:
    """COCO-Stuff's stored ids as classes; a gap has no label."""
    table = np.full(256, UNKNOWN, dtype=np.int16)
    table[[*COCO_GAPS, NO_LABEL]] = NO_LABEL
    ids = np.setdiff1d(np.arange(COCO_IDS), COCO_GAPS)
    table[ids] = np.arange(len(ids))
    return table


def _found(root: Path, published: dict[str, int], tables: Tables, counts: list[int]) -> SceneFolders:
    """The pairs of two parts, the training part first; ``counts`` are those of its ``published`` number of images."""
    problems = list[str]()
    train, test = (_pairs(root, f"images/{part}", f"annotations/{part}", tables, problems) for part in published)
    sizes = zip(published.items(), (len(files.images) for files in (train, test)), strict=True)
    remarks = [f"{part}: {found:,} scenes, {size:,} as published" for (part, size), found in sizes if found != size]
    known = counts if len(train.images) == next(iter(published.values())) else None
    return SceneFolders(root, train, test, len(counts), tables, known, problems, remarks)


def _pairs(root: Path, images: str, masks: str, ends: Iterable[str], problems: list[str]) -> SceneFiles:
    """The images of a folder that have a mask of their name in another one; what has none is a problem."""
    found, stored = _by_stem(root, images, ".jpg", problems), _by_stem(root, masks, ".png", problems)
    labelled = dict[str, str]()
    for name in sorted(stored.values(), key=lambda name: -len(end_of(name, ends))):  # one without an end wins
        labelled[_stem(name).removesuffix(end_of(name, ends))] = name
    problems += [f"{found[stem]} has no mask in {masks}" for stem in sorted(found.keys() - labelled.keys())]
    problems += [f"{labelled[stem]} has no image in {images}" for stem in sorted(labelled.keys() - found.keys())]
    both = sorted(found.keys() & labelled.keys())
    return SceneFiles([found[stem] for stem in both], [labelled[stem] for stem in both])


def end_of(mask: str, ends: Iterable[str]) -> str:
    """The first of some ends that the name of a mask has before its suffix."""
    return next(end for end in ends if _stem(mask).endswith(end))


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]


def _by_stem(root: Path, folder: str, suffix: str, problems: list[str]) -> dict[str, str]:
    """The files of a folder with a suffix, in small letters or capitals, by what stands before it; no hidden ones.

    Another kind of image there is a problem, as are two files of one name.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(root / folder) if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"{root / folder} cannot be read ({error.strerror}); set dataset.root to the folder that has "
            f"{folder}, or put the data set there"
        ) from error
    found, others = dict[str, str](), list[str]()
    for name in names:
        stem, own = os.path.splitext(name)
        if own.lower() == suffix and stem in found:
            problems.append(f"{found[stem]} and {folder}/{name} have one name; take one of them away")
        elif own.lower() == suffix:
            found[stem] = f"{folder}/{name}"
        elif own.lower() in IMAGES | NOT_READ:
            others.append(f"{folder}/{name} is no *{suffix}, which {folder} has alone; convert it, or take it away")
    if not found:
        instead = f" ({others[0]})" if others else ""
        raise DataError(
            f"{root / folder} has no file *{suffix}{instead}; set dataset.root to the folder of the whole data set"
        )
    problems += others
    return found

"""Data sets of scenes in their published layout: a folder of images and one of masks for each part."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources import scene_counts
from lt_bench.errors import DataError
from lt_bench.models.masks import NO_LABEL

UNKNOWN = -1  # what a value stands for that no mask of the data set has
COCO_IDS = 182  # stored classes, with eleven gaps
COCO_GAPS = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
CONVERTED = "_labelTrainIds"  # the end of the names of COCO-Stuff's masks whose values are classes already
SHOWN = 5


class SceneFiles(NamedTuple):
    """A part: names of images and of their masks below the root, in the same order."""

    images: list[str]
    masks: list[str]


class SceneFolders(NamedTuple):
    """A data set of scenes in files, of which none is read yet.

    ``table`` (256,) int16 says for every value of a mask which class it is, ``NO_LABEL`` or ``UNKNOWN``;
    ``image_counts`` are those of the published training part, None for another number of images; ``problems`` are
    files that belong to no other.
    """

    root: Path
    train: SceneFiles
    test: SceneFiles
    num_classes: int
    table: NDArray[np.int16]
    image_counts: list[int] | None
    problems: list[str]

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
    folders = {part: (f"images/{part}", f"annotations/{part}") for part in ("training", "validation")}
    return _found(root, folders, table, scene_counts.ADE20K, 20_210)


def coco_stuff_164k(root: Path) -> SceneFolders:
    """COCO-Stuff: masks of 182 ids with gaps, 255 for no label, or converted ones, whose values are the 171 classes.

    Source: Caesar et al., CVPR 2018, as published (stuffthingmaps).  Raises DataError where a folder is missing or
    empty.
    """
    folders = {part: (f"images/{part}", f"annotations/{part}") for part in ("train2017", "val2017")}
    found = _found(root, folders, _coco_table(), scene_counts.COCO_STUFF_164K, 118_287)
    if not all(CONVERTED in name for name in (*found.train.masks, *found.test.masks)):
        return found
    classes = np.arange(256, dtype=np.int16)
    classes[171:NO_LABEL] = UNKNOWN
    return found._replace(table=classes)


def _coco_table() -> NDArray[np.int16]:
    """COCO-Stuff's stored ids as classes; a gap has no label."""
    table = np.full(256, UNKNOWN, dtype=np.int16)
    table[[*COCO_GAPS, NO_LABEL]] = NO_LABEL
    ids = np.setdiff1d(np.arange(COCO_IDS), COCO_GAPS)
    table[ids] = np.arange(len(ids))
    return table


def _found(
    root: Path, folders: dict[str, tuple[str, str]], table: NDArray[np.int16], counts: list[int], images: int
) -> SceneFolders:
    """The pairs in the folders of two parts, the training part first; ``counts`` are those of so many ``images``."""
    problems = list[str]()
    train, test = (_pairs(root, *names, problems) for names in folders.values())
    known = counts if len(train.images) == images else None
    return SceneFolders(root, train, test, len(counts), table, known, problems)


def _pairs(root: Path, images: str, masks: str, problems: list[str]) -> SceneFiles:
    """The images of a folder that have a mask of their name in another one; what has none is a problem."""
    found, labelled = _by_stem(root, images, ".jpg"), _by_stem(root, masks, ".png")
    labelled = {stem.removesuffix(CONVERTED): name for stem, name in labelled.items()}
    problems += [f"{found[stem]} has no mask in {masks}" for stem in sorted(found.keys() - labelled.keys())]
    problems += [f"{labelled[stem]} has no image in {images}" for stem in sorted(labelled.keys() - found.keys())]
    both = sorted(found.keys() & labelled.keys())
    return SceneFiles([found[stem] for stem in both], [labelled[stem] for stem in both])


def _by_stem(root: Path, folder: str, ending: str) -> dict[str, str]:
    """The files of a folder with an ending, by what stands before it."""
    try:
        names = [entry.name for entry in os.scandir(root / folder) if entry.name.endswith(ending)]
    except OSError as error:
        raise DataError(
            f"{root / folder} cannot be read ({error.strerror}); set dataset.root to the folder that has "
            f"{folder}, or put the data set there"
        ) from error
    if not names:
        raise DataError(f"{root / folder} has no file *{ending}; set dataset.root to the folder of the whole data set")
    return {name.removesuffix(ending): f"{folder}/{name}" for name in names}

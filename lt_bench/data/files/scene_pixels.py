"""Scenes in files: an image with the mask of its pixels, decoded together."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.config.schema import Config
from lt_bench.data.files.digests import stamp_of
from lt_bench.data.files.image_file import StoredForm, opened, read_below
from lt_bench.data.files.parallel import in_parallel
from lt_bench.data.files.pixels import FileImages
from lt_bench.data.files.rgb import SIXTEEN_BITS, BadImage
from lt_bench.data.sources.common import present
from lt_bench.data.sources.scene_folders import SceneFiles, SceneFolders, Tables, end_of
from lt_bench.errors import DataError

INDICES, OF_OTHER_BITS = ("L", "P"), ("1", "I", *SIXTEEN_BITS)  # Pillow's modes of one number for each pixel
BITS = 24  # the place of the number of bits in a PNG file


class ScenePixels(FileImages):
    """Images of a part as ``PixelSource`` has them, which are refused where their masks cannot be used."""

    def __init__(self, root: Path, files: SceneFiles, tables: Tables, follow_links: bool = False) -> None:
        super().__init__(root, files.images, StoredForm(), follow_links)
        self.masks = np.array([name.encode("utf-8", "surrogateescape") for name in files.masks], dtype=np.bytes_)
        self.tables = tables

    def pair(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The image (H, W, 3) and the classes of its pixels (H, W); raises BadImage, which names what is wrong."""
        image, mask = super().__getitem__(position), self.mask(position)
        if image.shape[:2] != mask.shape:
            sizes = [" x ".join(map(str, array.shape[1::-1])) for array in (image, mask)]
            raise BadImage(f"{self._name(position)} has {sizes[0]} pixels and its mask {sizes[1]}")
        return image, mask

    def mask(self, position: int) -> NDArray[np.uint8]:
        """The classes of an image's pixels, (H, W) uint8, 255 where there is none; raises BadImage."""
        name = self.mask_name(position)
        values = _numbers(read_below(self.root, name, self.follow_links), name)
        classes = self.tables[end_of(name, self.tables)][values]
        if (classes < 0).any():
            raise BadImage(f"{name} has the value {values[classes < 0].min()}, which is no class of the data set")
        return classes.astype(np.uint8)

    def mask_name(self, position: int) -> str:
        """The mask of an image, by its path below the root."""
        name: str = self.masks[position].decode("utf-8", "surrogateescape")
        return name

    @property
    def reading(self) -> str:
        """How images are read, and which values of masks are classes."""
        return f"{super().reading} " + " ".join(f"{end}:{(table >= 0).sum()}" for end, table in self.tables.items())

    def stamp(self, position: int) -> str:
        """What changes with an image and with its mask."""
        return f"{super().stamp(position)} {stamp_of(f'{self.root}/{self.mask_name(position)}')}"

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, (H, W, 3); raises BadImage for it and for its mask."""
        return self.pair(position)[0]


class Examined(NamedTuple):
    """A scene: its problem, or which classes it has pixels of, (C,) bool."""

    problem: str | None
    classes: NDArray[np.bool_]


def classes_by_image(config: Config, folders: SceneFolders, workers: int) -> NDArray[np.bool_]:
    """Which classes each training image has pixels of, (N, C), read from its mask; raises DataError."""
    pixels = ScenePixels(folders.root, folders.train, folders.tables, config.dataset.follow_links)
    each = partial(_present, pixels, folders.num_classes)
    try:
        found = np.stack([*in_parallel(each, range(len(pixels.masks)), workers, "counting classes", config.progress)])
    except BadImage as error:
        raise DataError(f"{error}; python -m lt_bench.data check, with the same overrides, finds every one") from error
    if not found.any():
        raise DataError(_unlabelled(folders.train))
    return found


def examine(config: Config, folders: SceneFolders, workers: int) -> tuple[list[str], NDArray[np.bool_]]:
    """All that is wrong with the scenes of a data set, and which classes each training image has pixels of, (N, C).

    Wrong are files without another, pairs that cannot be used, and parts without a label.
    """
    wrong, by_part = list(folders.problems), list[NDArray[np.bool_]]()
    for part, files in folders.parts().items():
        pixels = ScenePixels(folders.root, files, folders.tables, config.dataset.follow_links)
        each = partial(_examine, pixels, folders.num_classes)
        found = [*in_parallel(each, range(len(files.images)), workers, f"checking {part}", config.progress)]
        by_part.append(np.array([one.classes for one in found], dtype=np.bool_).reshape(-1, folders.num_classes))
        problems = [one.problem for one in found if one.problem is not None]
        wrong += problems or ([] if by_part[-1].any() or not found else [_unlabelled(files)])
    return wrong, by_part[0]


def _numbers(data: bytes, name: str) -> NDArray[np.uint8]:
    """What a mask has for each pixel, (H, W); raises BadImage where that is no number, or may be read as another."""
    image = opened(data, name)
    if image.format != "PNG":
        raise BadImage(f"{name} is a {image.format} file, and masks are PNG files, which keep every number")
    if image.mode in OF_OTHER_BITS or (image.mode == "L" and data[BITS] != 8):  # Pillow spreads fewer bits over 0..255
        raise BadImage(f"{name} has {data[BITS]}-bit numbers, and masks have 8-bit ones, or a palette")
    if image.mode not in INDICES:
        raise BadImage(f"{name} is a picture (Pillow's mode {image.mode}), and a mask has a number for each pixel")
    return np.asarray(image)


def _present(pixels: ScenePixels, num_classes: int, position: int) -> NDArray[np.bool_]:
    return present(pixels.mask(position), num_classes)


def _examine(pixels: ScenePixels, num_classes: int, position: int) -> Examined:
    try:
        return Examined(None, present(pixels.pair(position)[1], num_classes))
    except BadImage as error:
        return Examined(str(error), np.zeros(num_classes, dtype=bool))


def _unlabelled(files: SceneFiles) -> str:
    return f"no mask in {os.path.dirname(files.masks[0])} has a pixel with a label"

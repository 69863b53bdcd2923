"""Scenes in files: an image with the mask of its pixels, decoded together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lt_bench.config.schema import Config
from lt_bench.data.files.image_file import StoredForm, opened, read_below
from lt_bench.data.files.parallel import in_parallel
from lt_bench.data.files.pixels import FileImages
from lt_bench.data.files.rgb import BadImage
from lt_bench.data.sources.common import present
from lt_bench.data.sources.scene_folders import SceneFiles, SceneFolders
from lt_bench.errors import DataError

INDICES = ("L", "P")  # modes of a file that has one number for each pixel


class ScenePixels(FileImages):
    """Images of a part as ``PixelSource`` has them, which are refused where their masks cannot be used."""

    def __init__(self, root: Path, files: SceneFiles, table: NDArray[np.int16], follow_links: bool = False) -> None:
        super().__init__(root, files.images, StoredForm(), follow_links)
        self.masks = np.array([name.encode("utf-8", "surrogateescape") for name in files.masks], dtype=np.bytes_)
        self.table = table

    def pair(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The image (H, W, 3) and the classes of its pixels (H, W); raises BadImage, which names what is wrong."""
        image, mask = super().__getitem__(position), self.mask(position)
        if image.shape[:2] != mask.shape:
            sizes = [" x ".join(map(str, array.shape[1::-1])) for array in (image, mask)]
            raise BadImage(f"{self._name(position)} has {sizes[0]} pixels and its mask {sizes[1]}")
        return image, mask

    def mask(self, position: int) -> NDArray[np.uint8]:
        """The classes of an image's pixels, (H, W) uint8, 255 where there is none; raises BadImage."""
        name = self.masks[position].decode("utf-8", "surrogateescape")
        image = opened(read_below(self.root, name, self.follow_links), name)
        if image.mode not in INDICES:
            raise BadImage(f"{name} is a picture (Pillow's mode {image.mode}), and a mask has a number for each pixel")
        classes = self.table[np.asarray(image)]
        if (classes < 0).any():
            values = np.unique(np.asarray(image)[classes < 0])
            raise BadImage(f"{name} has the value {values[0]}, which is no class of the data set")
        return classes.astype(np.uint8)

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, (H, W, 3); raises BadImage for it and for its mask."""
        return self.pair(position)[0]


def classes_by_image(config: Config, folders: SceneFolders, workers: int) -> NDArray[np.bool_]:
    """Which classes each training image has pixels of, (N, C), read from its mask; raises DataError."""
    pixels = ScenePixels(folders.root, folders.train, folders.table, config.dataset.follow_links)
    each = partial(_present, pixels, folders.num_classes)
    try:
        found = in_parallel(each, range(len(pixels.masks)), workers, "counting classes", config.progress)
        return np.stack([*found])
    except BadImage as error:
        raise DataError(f"{error}; python -m lt_bench.data check, with the same overrides, finds every one") from error


def problems(config: Config, folders: SceneFolders, workers: int) -> list[str]:
    """All that is wrong with the scenes of a data set: files without another, and pairs that cannot be used."""
    wrong = list(folders.problems)
    for part, files in folders.parts().items():
        pixels = ScenePixels(folders.root, files, folders.table, config.dataset.follow_links)
        each = partial(_problem, pixels)
        found = in_parallel(each, range(len(files.images)), workers, f"checking {part}", config.progress)
        wrong += [problem for problem in found if problem is not None]
    return wrong


def _present(pixels: ScenePixels, num_classes: int, position: int) -> NDArray[np.bool_]:
    return present(pixels.mask(position), num_classes)


def _problem(pixels: ScenePixels, position: int) -> str | None:
    try:
        pixels.pair(position)
    except BadImage as error:
        return str(error)
    return None

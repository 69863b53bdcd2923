"""The pixels of a data set of image files: read from its files, or from a packed copy of them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lt_bench.config.schema import Config
from lt_bench.data.files.digests import NONE, stamp_of
from lt_bench.data.files.image_file import StoredForm, decode, read_below, real_root
from lt_bench.data.files.packed import PackedImages


class PixelSource(Protocol):
    """A sequence of decoded images."""

    @property
    def place(self) -> str:
        """The folder that all lie in."""

    def stamp(self, position: int) -> str:
        """What an image is stored as: changes with its file, and with the form in which it is read."""

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, (H, W, 3); raises BadImage, which names it."""


class FileImages:
    """Images in files below a root, brought into a form."""

    def __init__(self, root: Path, names: list[str], form: StoredForm) -> None:
        self.root, self.form = real_root(root), form
        # one block of memory, which processes share
        self.names = np.array([name.encode("utf-8", "surrogateescape") for name in names], dtype=np.bytes_)

    @property
    def place(self) -> str:
        """The root."""
        return self.root

    def stamp(self, position: int) -> str:
        """The stamp of a file, as ``digests`` knows it, and the form; that of none where there is no such file."""
        file = stamp_of(f"{self.root}/{self._name(position)}")
        return file if file == NONE.stamp else f"{file} {self.form}"

    def _name(self, position: int) -> str:
        name: str = self.names[position].decode("utf-8", "surrogateescape")
        return name

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, decoded whole; raises BadImage, which names it."""
        name = self._name(position)
        return np.asarray(self.form.apply(decode(read_below(self.root, name), name)))


def open_images(config: Config, root: Path, names: list[str]) -> PixelSource:
    """The named images of a data set; raises DataError, UsageError as ``PackedImages`` does."""
    dataset = config.dataset
    form = StoredForm(dataset.short_side, dataset.jpeg_quality)
    if dataset.packed is None:
        return FileImages(root, names, form)
    return PackedImages(Path(dataset.packed).expanduser(), names, form)

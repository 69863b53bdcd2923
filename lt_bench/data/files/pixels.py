"""The pixels of a data set of image files: read from its files, or from a packed copy of them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lt_bench.config.schema import Config
from lt_bench.data.files.digests import stamp_of
from lt_bench.data.files.image_file import StoredForm, opened, read_below, real_root
from lt_bench.data.files.packed import PackedImages
from lt_bench.data.files.rgb import PLAIN, dropped, to_rgb


class PixelSource(Protocol):
    """A sequence of decoded images."""

    @property
    def place(self) -> str:
        """The folder that all lie in."""

    @property
    def reading(self) -> str:
        """In what way files are read: where it is another, the same file may be another image, or none."""

    def stamp(self, position: int) -> str:
        """What changes with the file of an image; ``NONE.stamp`` where there is no such file."""

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, (H, W, 3); raises BadImage, which names it."""


class FileImages:
    """Images in files below a root, brought into a form; ``follow_links``: also where links lead out of it."""

    def __init__(self, root: Path, names: list[str], form: StoredForm, follow_links: bool = False) -> None:
        self.root, self.form, self.follow_links = real_root(root), form, follow_links
        # one block of memory, which processes share
        self.names = np.array([name.encode("utf-8", "surrogateescape") for name in names], dtype=np.bytes_)

    @property
    def place(self) -> str:
        """The root."""
        return self.root

    @property
    def reading(self) -> str:
        """The form, and whether links are followed."""
        return f"{self.form} {self.follow_links}"

    def stamp(self, position: int) -> str:
        """The stamp of a file, as ``digests`` knows it."""
        return stamp_of(f"{self.root}/{self._name(position)}")

    def _name(self, position: int) -> str:
        name: str = self.names[position].decode("utf-8", "surrogateescape")
        return name

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, decoded whole; raises BadImage, which names it."""
        return self._formed(*self._opened(position))

    def examine(self, position: int) -> tuple[NDArray[np.uint8], str | None]:
        """The image at a position, and what its plain conversion drops, see ``rgb.dropped``; raises BadImage."""
        image, name = self._opened(position)
        return self._formed(image, name), dropped(image) if self.form.pixels == PLAIN else None

    def _opened(self, position: int) -> tuple[Image.Image, str]:
        name = self._name(position)
        return opened(read_below(self.root, name, self.follow_links), name), name

    def _formed(self, image: Image.Image, name: str) -> NDArray[np.uint8]:
        return np.asarray(self.form.apply(to_rgb(image, name, self.form.pixels)))


def open_images(config: Config, root: Path, names: list[str]) -> PixelSource:
    """The named images of a data set; raises DataError, UsageError as ``PackedImages`` does."""
    dataset = config.dataset
    form = StoredForm(dataset.short_side, dataset.jpeg_quality, dataset.pixels)
    if dataset.packed is None:
        return FileImages(root, names, form, dataset.follow_links)
    return PackedImages(Path(dataset.packed).expanduser(), names, form)

"""The pixels of a data set of image files: read from its files, or from a packed copy of them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lt_bench.config.schema import Config
from lt_bench.data.files.decoders import USUAL, Decoded, Reduction, decoder_named, unreduced
from lt_bench.data.files.digests import stamp_of
from lt_bench.data.files.image_file import StoredForm, decode, opened, read_below, real_root
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

    def reduced(self, position: int, most: Reduction) -> Decoded:
        """As ``[position]``; where it is decoded faster so, the image is reduced, by up to ``most`` of its size."""


class FileImages:
    """Images in files below a root, brought into a form; ``follow_links``: also where links lead out of it.

    Pillow makes the form of images that are not as they are stored; ``decoder`` decodes what they are then.
    """

    def __init__(
        self, root: Path, names: list[str], form: StoredForm, follow_links: bool = False, decoder: str = USUAL
    ) -> None:
        self.root, self.form, self.follow_links = real_root(root), form, follow_links
        self.decoder, self._decode = decoder, decoder_named(decoder)
        # one block of memory, which processes share
        self.names = np.array([name.encode("utf-8", "surrogateescape") for name in names], dtype=np.bytes_)

    @property
    def place(self) -> str:
        """The root."""
        return self.root

    @property
    def reading(self) -> str:
        """The form, and whether links are followed."""
        return f"{self.form} {self.follow_links}" + ("" if self.decoder == USUAL else f" {self.decoder}")

    def stamp(self, position: int) -> str:
        """The stamp of a file, as ``digests`` knows it."""
        return stamp_of(f"{self.root}/{self._name(position)}")

    def _name(self, position: int) -> str:
        name: str = self.names[position].decode("utf-8", "surrogateescape")
        return name

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        """The image at a position, decoded whole; raises BadImage, which names it."""
        return self.reduced(position, unreduced).pixels

    def reduced(self, position: int, most: Reduction) -> Decoded:
        """As ``[position]``; a JPEG file that is as it is stored may be reduced."""
        name, form = self._name(position), self.form
        data, pixels = read_below(self.root, name, self.follow_links), form.pixels
        if not form.is_as_stored:
            small = form.shrink(decode(data, name, pixels))
            if form.jpeg_quality is None:
                return Decoded.whole(small)
            data, name, pixels = form.encode(small), "JPEG", PLAIN
        return self._decode(data, name, pixels, most)

    def examine(self, position: int) -> tuple[NDArray[np.uint8], str | None]:
        """The image at a position, and what its plain conversion drops, see ``rgb.dropped``; raises BadImage."""
        name = self._name(position)
        image = opened(read_below(self.root, name, self.follow_links), name)
        pixels = np.asarray(self.form.apply(to_rgb(image, name, self.form.pixels)))
        return pixels, dropped(image) if self.form.pixels == PLAIN else None


def open_images(config: Config, root: Path, names: list[str]) -> PixelSource:
    """The named images of a data set; raises DataError, UsageError as ``PackedImages`` does."""
    dataset = config.dataset
    form = StoredForm(dataset.short_side, dataset.jpeg_quality, dataset.pixels)
    if dataset.packed is None:
        return FileImages(root, names, form, dataset.follow_links, dataset.decoder)
    return PackedImages(Path(dataset.packed).expanduser(), names, form, dataset.decoder)

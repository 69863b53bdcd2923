"""Image files: opened only below the data root, decoded whole, as RGB."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from lt_bench.data.files.rgb import PLAIN, BadImage, to_rgb
from lt_bench.files import read_bytes

# the formats of a data set; Pillow's many other decoders are not used. Its JPEG decoder also reads MPO files.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")

# An image is decoded whole by every worker: larger ones, which a file of few bytes may announce, are refused.
LARGEST = 2**28  # bytes of a file
MOST_PIXELS = 2**26  # of an image

# Pillow scales grey of so few bits to eight, but not the value that a file says is transparent
LEVEL = {"L;2": 85, "L;4": 17}


class OutsideRoot(BadImage):
    """A link out of the data root: never followed unasked, and never left out like an image that is broken."""


def read_below(root: str, name: str, follow_links: bool = False) -> bytes:
    """The content of a file; ``root`` is a real path, without links.

    Raises BadImage where there is no such file, OutsideRoot where a link leads it out of the root and ``follow_links``
    does not allow it.
    """
    path = os.path.realpath(os.path.join(root, name))
    if not follow_links and os.path.commonpath((root, path)) != root:
        raise OutsideRoot(
            f"{name} is a link to {path}, which is outside the data root {root}; dataset.follow_links=true reads it"
        )
    try:
        return read_bytes(path, LARGEST)
    except OSError as error:
        raise BadImage(f"{name} cannot be read ({error.strerror})") from error


def real_root(root: Path) -> str:
    """The root without links, as ``read_below`` needs it."""
    return os.path.realpath(root)


def opened(data: bytes, name: str) -> Image.Image:
    """The image as it is stored, every pixel decoded; raises BadImage, which names it, for what is damaged or cut."""
    image = header(data, name)
    with _named(name):
        image.load()
    return image


def header(data: bytes, name: str) -> Image.Image:
    """The image as it is stored, no pixel decoded yet; raises BadImage for what is none, or has too many pixels."""
    with _named(name):
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.format == "PNG" and image.tile and "transparency" in image.info:
            image.info["transparency"] = _in_eight_bits(image.info["transparency"], str(image.tile[0][3]))
    if image.width * image.height > MOST_PIXELS:
        raise BadImage(f"{name} has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    return image


def _in_eight_bits(value: Any, stored: str) -> Any:
    return value * LEVEL[stored] if stored in LEVEL else value


@contextmanager
def _named(name: str) -> Iterator[None]:
    """A block in which whatever Pillow raises becomes BadImage."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise BadImage(
            f"{name} is not a complete image (neither {', '.join(FORMATS[:-1])} nor {FORMATS[-1]})"
        ) from error
    except Exception as error:  # what Pillow raises for a damaged file is not listed anywhere
        raise BadImage(f"{name} is not a complete image ({error})".replace(" <_io.BytesIO object>", "")) from error


def decode(data: bytes, name: str, pixels: str = PLAIN) -> Image.Image:
    """The image in RGB by a rule of ``rgb.to_rgb``; raises BadImage, which names it."""
    return to_rgb(opened(data, name), name, pixels)


class StoredForm(NamedTuple):
    """The form in which images are stored: resized to a short side, and compressed as JPEG; None: neither.

    ``pixels`` is the rule by which they become RGB, see ``rgb.to_rgb``.
    """

    short_side: int | None = None
    jpeg_quality: int | None = None
    pixels: str = PLAIN

    def shrink(self, image: Image.Image) -> Image.Image:
        """The image with at most ``short_side`` pixels on its short side; none is enlarged.

        Source: torchvision's Resize on a PIL image.
        """
        width, height = image.size
        if self.short_side is None or min(width, height) <= self.short_side:
            return image
        size = [int(self.short_side * side / min(width, height)) for side in (width, height)]
        return image.resize((size[0], size[1]), Image.Resampling.BILINEAR)

    @property
    def is_as_stored(self) -> bool:
        """Whether images are what their files hold, neither resized nor compressed."""
        return self.short_side is None and self.jpeg_quality is None

    def encode(self, image: Image.Image) -> bytes:
        """The image as the bytes of a JPEG file."""
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=self.jpeg_quality)
        return stream.getvalue()

    def apply(self, image: Image.Image) -> Image.Image:
        """The image as it is read from a copy in this form."""
        small = self.shrink(image)
        return small if self.jpeg_quality is None else decode(self.encode(small), "JPEG")

    def overrides(self) -> str:
        """The overrides that set this form."""
        return " ".join(f"dataset.{key}={'null' if value is None else value}" for key, value in self._asdict().items())

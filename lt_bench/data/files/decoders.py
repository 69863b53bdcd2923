"""What decodes the bytes of an image for training and evaluation: Pillow, or libjpeg-turbo where the two are alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lt_bench.config.signatures import module_file
from lt_bench.data.files.image_file import decode, header
from lt_bench.data.files.rgb import PLAIN, turn
from lt_bench.errors import UsageError
from lt_bench.preflight.packages import JPEG_PACKAGE, NO_JPEG_PACKAGE

Size = tuple[int, int]  # height, width
Reduction = Callable[[int, int], int]  # by how much an image of a height and width may be reduced; 1: not at all
USUAL = "pillow"
REDUCTIONS = (8, 4, 2)  # for which libjpeg-turbo has fast transforms


class Decoded(NamedTuple):
    """An image in RGB, (H, W, 3), and the size that it has in its file."""

    pixels: NDArray[np.uint8]
    full: Size

    @classmethod
    def whole(cls, image: Image.Image) -> Decoded:
        """An image that is not reduced."""
        return cls(np.asarray(image), (image.height, image.width))


def unreduced(height: int, width: int) -> int:
    """The ``Reduction`` of images that are wanted whole."""
    return 1


def pillow(data: bytes, name: str, pixels: str, most: Reduction) -> Decoded:
    """The whole image in RGB by a rule of ``rgb.to_rgb``; raises BadImage, which names it."""
    return Decoded.whole(decode(data, name, pixels))


def turbo(data: bytes, name: str, pixels: str, most: Reduction) -> Decoded:
    """As ``pillow``; a JPEG file of three colours that nothing is wrong with is decoded by libjpeg-turbo.

    It is reduced in that by a power of two, up to ``most``. Any other file is Pillow's, which alone refuses any.
    """
    import simplejpeg

    image = header(data, name)
    if image.format in ("JPEG", "MPO") and image.mode == "RGB" and (pixels == PLAIN or turn(image) is None):
        height, width = image.height, image.width
        allowed = most(height, width)
        factor = next((factor for factor in REDUCTIONS if factor <= allowed), 1)
        with suppress(ValueError):  # it warns of what is wrong with a file
            least = {"min_height": -(-height // factor), "min_width": -(-width // factor)}
            return Decoded(simplejpeg.decode_jpeg(data, "RGB", **least), (height, width))
    return pillow(data, name, pixels, most)


Decoder = Callable[[bytes, str, str, Reduction], Decoded]
DECODERS: dict[str, Decoder] = {USUAL: pillow, "turbo": turbo}


def decoder_named(name: str) -> Decoder:
    """The decoder that ``dataset.decoder`` names; raises UsageError where its package is missing."""
    if name == "turbo" and module_file(JPEG_PACKAGE) is None:
        raise UsageError(NO_JPEG_PACKAGE)
    return DECODERS[name]

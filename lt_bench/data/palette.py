"""Colours of classes in pictures of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lt_bench.models.masks import NO_LABEL

Pixels = NDArray[np.uint8]
COVER = 0.5  # how much of a pixel is its class's colour


def palette() -> Pixels:
    """A colour (256, 3) for every value of a mask: class c has number c + 1 of PASCAL VOC, no label is black.

    Source: Everingham et al., IJCV 2010 (the colour map of its development kit).  Deviation: none is black for a class.
    """
    numbers = np.arange(1, 257)
    colours = np.zeros((256, 3), dtype=np.int64)
    for digit in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> 3 * digit + channel & 1) << 7 - digit
    colours[NO_LABEL] = 0
    return colours.astype(np.uint8)


def indexed(mask: Pixels) -> Image.Image:
    """A mask (H, W) as an image whose pixels are class numbers, shown in the colours of ``palette``."""
    image = Image.fromarray(mask)
    image.putpalette(palette().tobytes())
    return image


def overlaid(image: Pixels, mask: Pixels) -> Pixels:
    """An image (..., H, W, 3) under the colours of its mask (..., H, W); pixels without a label stay as they are."""
    mixed = np.rint((1 - COVER) * image + COVER * palette()[mask]).astype(np.uint8)
    return np.where((mask == NO_LABEL)[..., None], image, mixed)

"""What an encoder's weights were trained on: size, colours and resizing of images."""

from __future__ import annotations

from typing import NamedTuple


class EncoderInput(NamedTuple):
    """Images as the weights of an encoder know them.

    ``size`` is their height and width in pixels; ``mean`` and ``std`` are those of each colour from 0 to 1;
    ``interpolation`` is that of resizing; ``crop_share`` is ``size`` / short side, where the middle of a larger image
    is cut out for evaluation.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_share: float

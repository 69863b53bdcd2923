"""What an encoder's weights were trained on: size, colours and resizing of images."""

from __future__ import annotations

from typing import Any, NamedTuple


class EncoderInput(NamedTuple):
    """Images as the weights of an encoder know them.

    ``size`` is their height and width in pixels; ``mean`` and ``std`` are those of each colour from 0 to 1;
    ``interpolation`` is that of resizing; ``crop_share`` is ``size`` / short side, where the middle of a larger image
    is cut out for evaluation. ``notes`` are what whoever published the weights says of them.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_share: float
    notes: tuple[str, ...] = ()

    def recorded(self) -> dict[str, Any]:
        """Plain values for a record, without the notes."""
        values = {key: list(one) if isinstance(one, tuple) else one for key, one in self._asdict().items()}
        del values["notes"]
        return values

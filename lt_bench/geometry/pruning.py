"""Which weights of a network are kept when the smallest are dropped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from lt_bench.errors import SettingError


@torch.no_grad()
def magnitude_masks(
    weights: Sequence[Tensor], fraction: float, random_fraction: float = 0.0, draws: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Masks (bool, True = kept, of the weights' shapes) that drop the smallest absolute values of all tensors together.

    Of n weights exactly p = ceil((fraction - random_fraction) * n) are dropped, in exact decimal arithmetic: those
    below the absolute value at place min(p, n - 1) of the ascending list counted from 0. Equal ones at this threshold
    are all kept; a fraction of 0 keeps every weight and 1 the largest.
    With a ``random_fraction``, ``draws`` (uniform in [0, 1), of the weights' shapes) below
    ceil(random_fraction * n) / (n - p) drop further weights, or again the same.
    Source: Jiang et al., ICML 2021 (SDCLR), authors' code.  Deviation: theirs counts in single precision.
    Raises SettingError for fractions out of order, ValueError for no weights and a ``random_fraction`` without
    ``draws``.
    """
    check_fractions(fraction, random_fraction)
    if not weights:
        raise ValueError("nothing can be pruned: there are no weights")
    magnitudes = [weight.abs() for weight in weights]
    everything = torch.cat([magnitude.flatten() for magnitude in magnitudes])
    count = len(everything)
    dropped = math.ceil((_exact(fraction) - _exact(random_fraction)) * count)
    threshold = everything.kthvalue(min(dropped, count - 1) + 1).values  # counts from 1
    masks = [magnitude >= threshold for magnitude in magnitudes]
    if random_fraction > 0:
        if draws is None:
            raise ValueError("a random_fraction above 0 needs draws, one uniform number for every weight")
        probability = math.ceil(_exact(random_fraction) * count) / max(1, count - dropped)
        masks = [mask & (draw >= probability) for mask, draw in zip(masks, draws, strict=True)]
    return masks


def check_fractions(fraction: float, random_fraction: float) -> None:
    """Raises SettingError unless 0 <= random_fraction <= fraction <= 1 and the random part is below 1."""
    if not 0 <= fraction <= 1:
        raise SettingError("fraction", "from 0 to 1", fraction, 0.9)
    if not (0 <= random_fraction <= fraction and random_fraction < 1):
        rule = f"at least 0, below 1 and at most the whole fraction of {fraction}"
        raise SettingError("random_fraction", rule, random_fraction, 0)


def _exact(fraction: float) -> Fraction:
    """The decimal number that was written, without the rounding of floating point."""
    return Fraction(str(fraction))

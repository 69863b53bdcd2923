"""Mixing images with others: blends, boxes that are pasted, and how much of its label an image keeps."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = {"floor": math.floor, "ceil": math.ceil}


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of an image, the last ones not among them."""

    top: int
    left: int
    bottom: int
    right: int


def blend(images: Tensor, others: Tensor, share: float) -> Tensor:
    """``share`` of every image and the rest of another one.

    Shapes: images, others (B, ...); returns (B, ...).
    Source: Zhang et al., ICLR 2018 (mixup), eq. for inputs.  Deviation: none.
    """
    return share * images + (1 - share) * others


def box_around(height: int, width: int, share: float, row: int, column: int, rounding: str = "floor") -> Box:
    """A box of about ``1 - share`` of an image's area around a pixel, cut off at the image's edges; may be empty.

    ``rounding`` is that of its sides. An odd side loses a line, as half of it is taken to both sides of the pixel.
    Source: Yun et al., ICCV 2019 (CutMix); Park et al., CVPR 2022 (CMO), authors' code; GLMC's rounds up.
    Deviation: none.
    """
    rounded, root = ROUNDING[rounding], math.sqrt(1 - share)
    half_height, half_width = rounded(height * root) // 2, rounded(width * root) // 2
    return Box(
        max(row - half_height, 0),
        max(column - half_width, 0),
        min(row + half_height, height),
        min(column + half_width, width),
    )


def kept_share(box: Box, height: int, width: int) -> float:
    """The share of an image's pixels outside a box."""
    return 1 - (box.bottom - box.top) * (box.right - box.left) / (height * width)


def paste(images: Tensor, others: Tensor, box: Box) -> Tensor:
    """Images whose pixels inside a box are those of others.

    Shapes: images, others (B, 3, H, W); returns (B, 3, H, W), new memory.
    """
    mixed = images.clone()
    inside = (..., slice(box.top, box.bottom), slice(box.left, box.right))
    mixed[inside] = others[inside]
    return mixed


def remix_shares(labels: Tensor, others: Tensor, counts: Tensor, share: float, kappa: float, tau: float) -> Tensor:
    """How much of its label every image keeps: none beside a much rarer class, all beside a much more frequent one.

    Shapes: labels, others (B,), counts (C,); returns (B,) in the type of ``counts``.
    Source: Chou et al., ECCV 2020 workshops (Remix), eq. (10), by two public implementations that agree.  Deviation:
    where both cases hold, which takes kappa = 1 and tau above 0.5, no label is kept.
    """
    ratio = counts[labels] / counts[others]
    kept = torch.full_like(ratio, share)
    if 1 - share < tau:
        kept = torch.where(ratio * kappa <= 1, 1.0, kept)
    if share < tau:
        kept = torch.where(ratio >= kappa, 0.0, kept)
    return kept

"""Batch augmentation on the device: parameters drawn per image, then applied to the whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from lt_bench.augment.boosted import Boost, BoostedRandAugment
from lt_bench.augment.box_crop import BoxCrop
from lt_bench.augment.crop import HorizontalFlip
from lt_bench.augment.selection import join, take
from lt_bench.errors import SettingError

# a NamedTuple of tensors with one row per image, or of such tuples; every operation has its own
Params = Any

# on a CPU, chunks of 3 MB of floats: larger ones leave the cache, smaller ones spend more on calls than on sums
CHUNK_VALUES = 256 * 3 * 32 * 32
CHUNK_IMAGES = 32
# without branches, what RandAugment holds at a time is ten times its images: enough of them at 224 pixels fill a GPU
BRANCH_FREE_VALUES = 2**24


class Op(Protocol):
    """One random operation on float32 images (B, 3, H, W) in [0, 1], of that shape or another height and width.

    Both ways of applying it give the same images for the same parameters, up to rounding, and do not write to their
    input, which they may return where nothing changes.
    """

    def draw(self, count: int, generator: torch.Generator) -> Params:
        """Fresh parameters for ``count`` images, independent of the images, on the generator's device."""

    def grouped(self, images: Tensor, params: Params) -> Tensor:
        """Apply; may read the host and handle groups of images in turn, as suits a CPU."""

    def branch_free(self, images: Tensor, params: Params) -> Tensor:
        """Apply without host reads and with shapes known in advance, so that torch.compile makes one graph of it."""


class Pipeline:
    """A sequence of operations, then normalisation; with no operations, the view used for evaluation.

    ``mean`` and ``std`` are per channel, for values in [0, 1]. A horizontal flip right after a resized crop
    costs nothing: the crop reads its columns in reverse.
    """

    def __init__(self, ops: Sequence[Op], mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != 3:
            raise SettingError("mean", "a list of three numbers", list(mean), "[0.5,0.5,0.5]")
        if len(std) != 3 or min(std) <= 0:
            raise SettingError("std", "a list of three positive numbers", list(std), "[0.25,0.25,0.25]")
        self.ops = tuple(ops)
        self.mean, self.std = tuple(mean), tuple(std)
        self._in_crop = {
            index
            for index, (op, following) in enumerate(pairwise(self.ops), start=1)
            if isinstance(op, BoxCrop) and isinstance(following, HorizontalFlip)
        }

    def draw(self, count: int, generator: torch.Generator, boost: Boost | None = None) -> list[Params]:
        """Fresh parameters for ``count`` images, one entry per operation; ``boost`` is for those that need one."""
        return [
            op.draw(count, generator, boost) if isinstance(op, BoostedRandAugment) else op.draw(count, generator)
            for op in self.ops
        ]

    def apply(self, images: Tensor, params: list[Params], branch_free: bool = False) -> Tensor:
        """Augment and normalise: uint8 (B, 3, H, W) to float32 (B, 3, S, S) in channels_last memory format.

        Images may come in either memory format; without operations channels_last is twice as fast.
        ``branch_free`` takes the way without host reads, in one piece unless images are large. ValueError if the
        images are something else or the parameters are not one per operation and image.
        """
        self._require(images, params)
        if branch_free:
            most = images_together(images)
            if len(images) > most:
                pieces = [slice(start, start + most) for start in range(0, len(images), most)]
                return torch.cat([self.apply(images[rows], slice_params(params, rows), True) for rows in pieces])
            pixels = self._run(images, params, branch_free).permute(0, 2, 3, 1).contiguous().float()
            return torch.addcmul(self._shift(pixels), pixels, self._scale(pixels)).permute(0, 3, 1, 2)
        step = max(CHUNK_IMAGES, CHUNK_VALUES // math.prod(images.shape[1:]))
        first, *others = (slice(start, start + step) for start in range(0, max(1, len(images)), step))
        pixels = _interleaved(self._run(images[first], slice_params(params, first), branch_free)).float()
        shift, scale = self._shift(pixels), self._scale(pixels)
        out = pixels.new_empty(len(images), *pixels.shape[1:])
        torch.addcmul(shift, pixels, scale, out=out[first])
        for rows in others:
            pixels = _interleaved(self._run(images[rows], slice_params(params, rows), branch_free)).float()
            torch.addcmul(shift, pixels, scale, out=out[rows])
        return out.permute(0, 3, 1, 2)

    def _require(self, images: Tensor, params: list[Params]) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"a pipeline expects uint8 images (B, 3, H, W), found {images.dtype} {tuple(images.shape)}; "
                "repeat grey images to three channels and pass them before any conversion to float"
            )
        counts = [len(drawn[0]) for drawn in params]
        if counts != [len(images)] * len(self.ops):
            raise ValueError(
                f"{len(self.ops)} operations on {len(images)} images expect that many parameters of that length, found "
                f"lengths {counts}; pass what draw() or slice_params() returned for these images"
            )

    def _run(self, images: Tensor, params: list[Params], branch_free: bool) -> Tensor:
        """Augmented images (B, 3, S, S) in [0, 1]; where there are no operations, the uint8 images themselves."""
        if not self.ops:
            return images
        values = images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        for index, (op, drawn) in enumerate(zip(self.ops, params, strict=True)):
            if index in self._in_crop:
                continue
            flip = {"flipped": params[index + 1].applied} if index + 1 in self._in_crop else {}
            values = (op.branch_free if branch_free else op.grouped)(values, drawn, **flip)
        return values

    def _scale(self, pixels: Tensor) -> Tensor:
        white = 1 if self.ops else 255
        return _tile([1 / (white * std) for std in self.std], pixels)

    def _shift(self, pixels: Tensor) -> Tensor:
        return _tile([-mean / std for mean, std in zip(self.mean, self.std, strict=True)], pixels)

    def __call__(
        self,
        images: Tensor,
        generator: torch.Generator,
        rows: slice | None = None,
        total: int | None = None,
        branch_free: bool = False,
        boost: Boost | None = None,
    ) -> Tensor:
        """Draw for the global batch of ``total`` images and augment this process's share, the images at ``rows`` of it.

        So several processes see the augmentation that one process sees on the joined batch. Default: the whole batch.
        The generator is on the device of the images; a ``boost`` is that of the global batch.
        """
        drawn = self.draw(len(images) if total is None else total, generator, boost)
        params = drawn if rows is None else slice_params(drawn, rows)
        return self.apply(images, params, branch_free)


def images_together(images: Tensor) -> int:
    """How many of these images (B, C, H, W) are augmented in one piece without branches; 1 or more."""
    return max(1, BRANCH_FREE_VALUES // math.prod(images.shape[1:]))


def join_params(parts: Sequence[list[Params]]) -> list[Params]:
    """The parameters of several batches one after the other, operation by operation."""
    return [join(drawn) for drawn in zip(*parts, strict=True)]


def slice_params(params: list[Params], rows: slice) -> list[Params]:
    """The parameters of some images of a batch, operation by operation."""
    return [take(drawn, rows) for drawn in params]


def _tile(numbers: list[float], pixels: Tensor) -> Tensor:
    """One number per channel, (H, W, 3), for pixels (B, H, W, 3); filled on the device, so that nothing is copied."""
    planes = [torch.full(pixels.shape[1:3], number, device=pixels.device) for number in numbers]
    return torch.stack(planes, dim=2)


def _interleaved(images: Tensor) -> Tensor:
    """Planes to pixels, (B, C, H, W) -> (B, H, W, C) contiguous; on a CPU twice as fast as a plain copy.

    That is what a channel shuffle does to B x 1 x 1 "pixels" of C H W "channels", and for channels_last strides its
    kernel is a vectorised matrix transposition.
    """
    if images.is_contiguous(memory_format=torch.channels_last):
        return images.permute(0, 2, 3, 1)
    count, channels, height, width = images.shape
    length = channels * height * width
    flat = images.reshape(count, length).as_strided((count, length, 1, 1), (length, 1, length, length))
    return torch.channel_shuffle(flat, channels).view(count, height, width, channels)

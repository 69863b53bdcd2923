"""Images whose labels are masks: what moves an image moves its mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from lt_bench.augment.blur import GaussianBlur
from lt_bench.augment.box_blur import BoxBlur
from lt_bench.augment.color import ColorJitter, Grayscale
from lt_bench.augment.crop import CropWithPadding, HorizontalFlip
from lt_bench.augment.described import written
from lt_bench.augment.distortion import PhotometricDistortion
from lt_bench.augment.pipeline import Params, Pipeline
from lt_bench.contracts import View
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.errors import UsageError
from lt_bench.models.masks import NO_LABEL

MOVING = (CropWithPadding, HorizontalFlip)  # whole pixels, so that a mask stays one
STAYING = (ColorJitter, Grayscale, PhotometricDistortion, GaussianBlur, BoxBlur)


class EvaluatedScenes(Protocol):
    """Scenes as they are evaluated."""

    labels: Tensor

    def evaluated(self, rows: slice, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Some of the scenes in order, at most ``size`` at a time, with their masks as they are stored.

        Shapes: images (B, 3, h, w) normalised, masks (B, H, W) uint8, which may be larger.
        """


class InMemoryScenes(InMemoryImages):
    """Images (N, 3, H, W) uint8 and masks (N, H, W) uint8, the labels, on one device; see ``InMemoryImages``."""

    def view(self, view: View) -> Pipeline:
        """The pipeline of a view; raises UsageError for one that moves images otherwise than by whole pixels."""
        pipeline = super().view(view)
        if other := [op for op in pipeline.ops if not isinstance(op, (*MOVING, *STAYING))]:
            raise UsageError(
                f"the view {written(view)} changes images by {type(other[0]).__name__}, which masks cannot follow; set "
                "method.views=[crop_flip]"
            )
        return pipeline

    def evaluated(self, rows: slice, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Some of the scenes as they are, normalised; see ``EvaluatedScenes``."""
        indices = torch.arange(len(self.labels), device=self.labels.device)
        generator = torch.Generator(indices.device)  # the plain view draws nothing
        images = self.chunks("plain", indices, rows, size, generator)
        yield from zip(images, self.labels[rows].split(size), strict=True)

    def _labelled(self, mine: Tensor, views: Sequence[View], drawn: list[list[Params]]) -> Tensor:
        """The masks of the images at these positions, moved as the first view moves them; no label beside them."""
        moved = (NO_LABEL - self.labels[mine])[:, None].float()  # operations fill with 0
        for operation, params in zip(self.view(views[0]).ops, drawn[0], strict=True):
            if isinstance(operation, MOVING):
                moved = (operation.branch_free if self._branch_free else operation.grouped)(moved, params)
        return NO_LABEL - moved[:, 0].to(torch.uint8)

"""Regions of images: pixels of one class, their mean features, and what a small network says of those."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-12
Gather = Callable[[Tensor], Tensor]  # the rows of all processes, see ``TrainContext.gather``


def alone(rows: Tensor) -> Tensor:
    """The rows of all processes where there is one."""
    return rows


def classes_present(mask: Tensor, num_classes: int) -> Tensor:
    """Which classes occur in each mask (N, H, W), (N, C) bool."""
    labels = mask.flatten(1).long().clamp(max=num_classes)
    found = torch.zeros(len(mask), num_classes + 1, dtype=torch.bool, device=mask.device)
    return found.scatter_(1, labels, True)[:, :num_classes]


def reduced_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (N, H, W) at the size of maps: the pixel in row floor(i H / h) and column floor(j W / w)."""
    rows = torch.arange(height, device=mask.device) * mask.shape[1] // height
    columns = torch.arange(width, device=mask.device) * mask.shape[2] // width
    return mask[:, rows[:, None], columns]


def true_regions(features: Tensor, mask: Tensor, num_classes: int, gather: Gather = alone) -> tuple[Tensor, Tensor]:
    """The mean feature of each label over all images together, and which labels occur.

    Shapes: features (N, D, h, w), mask (N, H, W) -> (C + 1, D), (C + 1,) bool; the last region is of ignored pixels.
    """
    features = _precise(features)
    labels = reduced_mask(mask, *features.shape[2:]).flatten().long().clamp(max=num_classes)
    members = F.one_hot(labels, num_classes + 1).to(features.dtype)  # (N h w, C + 1)
    sums = members.T @ features.permute(0, 2, 3, 1).flatten(0, 2)
    joint = gather(torch.cat([sums, members.sum(0)[:, None]], dim=1)[None]).sum(0)
    sums, counts = joint[:, :-1], joint[:, -1:]
    return sums / counts.clamp(min=1), counts[:, 0] > 0


def predicted_regions(features: Tensor, pixel_logits: Tensor) -> Tensor:
    """The mean feature of each image by the predicted probabilities of each class, which gradients go through.

    Shapes: features (N, D, h, w), pixel_logits (N, C, h, w) -> (N, C, D).
    """
    shares = _precise(pixel_logits).softmax(1).flatten(2)
    sums = shares @ _precise(features).flatten(2).transpose(1, 2)
    return sums / (shares.sum(2, keepdim=True) + TINY)


def image_bias(region_logits: Tensor) -> Tensor:
    """What the predicted regions of an image add to all its pixels' logits, (N, C, C + 1) -> (N, C)."""
    return region_logits[..., :-1].mean(1)


def class_means(maps: Tensor, mask: Tensor, num_classes: int, gather: Gather = alone) -> tuple[Tensor, Tensor]:
    """The mean over each class's pixels of maps enlarged to the mask with aligned corners, and which classes occur.

    The maps are not enlarged: each pixel's share in the four places that it lies between is added up by class.
    Shapes: maps (N, D, h, w), mask (N, H, W) -> (C, D), (C,) bool.
    """
    maps = _precise(maps)
    count, _, height, width = maps.shape
    labels = mask.long().clamp(max=num_classes)
    image = torch.arange(count, device=mask.device)[:, None, None]
    plane = (labels * count + image) * (height * width)  # where the maps of a class and an image begin
    shares = maps.new_zeros((num_classes + 1) * count * height * width)
    for row, of_row in _neighbours(mask.shape[1], height, maps):
        for column, of_column in _neighbours(mask.shape[2], width, maps):
            places = plane + row[:, None] * width + column
            shares.index_add_(0, places.flatten(), (of_row[:, None] * of_column).expand(mask.shape).flatten())
    # a matrix product, as PyTorch's batch norm of one image is wrong for gradients in the order that einsum leaves
    sums = shares.view(num_classes + 1, -1)[:num_classes] @ maps.permute(0, 2, 3, 1).flatten(0, 2)
    pixels = F.one_hot(labels.flatten(), num_classes + 1).sum(0)[:num_classes, None]
    joint = gather(torch.cat([sums, pixels.to(sums.dtype)], dim=1)[None]).sum(0)
    return joint[:, :-1] / joint[:, -1:].clamp(min=1), joint[:, -1] > 0


def _neighbours(size: int, small: int, maps: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of so many places, the two among few that each lies between (corners aligned), and its share in them."""
    at = torch.arange(size, device=maps.device, dtype=maps.dtype) * ((small - 1) / max(1, size - 1))
    first = at.floor().long().clamp(max=small - 1)
    share = at - first
    return [(first, 1 - share), ((first + 1).clamp(max=small - 1), share)]


def _precise(values: Tensor) -> Tensor:
    """Values in a precision in which long sums are exact enough."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

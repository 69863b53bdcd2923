"""Regions of images: pixels of one class, their mean features, and what a small network says of those."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-12
Gather = Callable[[Tensor], Tensor]  # the rows of all processes, see ``TrainContext.gather``
Resolution = Literal["feature", "image"]  # whether masks come to the size of maps, or maps to that of masks


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


class Pools(NamedTuple):
    """Which images of the joined batch have regions together: so many neighbours, all where ``images`` is None.

    Every process has as many images, in rank order.
    """

    images: int | None = None
    rank: int = 0
    world_size: int = 1
    gather: Gather = alone

    def sums(self, of_part: Callable[[Tensor, Tensor], Tensor], maps: Tensor, mask: Tensor) -> Tensor:
        """What ``of_part`` adds up (K, D) of a pool's maps and masks, of every pool of all processes, (G, K, D)."""
        if self.images is None:  # no slices, which would leave gradients in another order
            return self.gather(of_part(maps, mask)[None, None]).sum(0)
        count, size = len(maps), self.images
        first, last = self.rank * count, (self.rank + 1) * count
        own = {}
        for pool in range(first // size, -(-last // size)):
            part = slice(max(0, pool * size - first), (pool + 1) * size - first)
            own[pool] = of_part(maps[part], mask[part])
        nothing = torch.zeros_like(next(iter(own.values())))
        pools = [own.get(pool, nothing) for pool in range(-(-self.world_size * count // size))]
        return self.gather(torch.stack(pools)[None]).sum(0)


ALL = Pools()


def true_regions(
    maps: Tensor,
    mask: Tensor,
    num_classes: int,
    pools: Pools = ALL,
    *,
    resolution: Resolution = "feature",
    ignored: bool = True,
) -> tuple[Tensor, Tensor]:
    """The mean of maps over each class's pixels in each pool of images, and which classes occur there.

    ``resolution`` "feature" takes the mask at the size of the maps, "image" the maps at that of the mask, enlarged
    with aligned corners. With ``ignored``, K = C + 1, and the last region is of pixels without a label, else K = C.
    Shapes: maps (N, D, h, w), mask (N, H, W) -> (G, K, D), (G, K) bool, in so many pools.
    """
    sums_of = _sums_of_places if resolution == "feature" else _sums_of_pixels
    of_part = partial(sums_of, num_classes=num_classes, rows=num_classes + ignored)
    joint = pools.sums(of_part, _precise(maps), mask)
    return joint[..., :-1] / joint[..., -1:].clamp(min=1), joint[..., -1] > 0


def _sums_of_places(maps: Tensor, mask: Tensor, num_classes: int, rows: int) -> Tensor:
    """Sums (rows, D + 1) of maps over the classes of a reduced mask, the last column their numbers of places."""
    labels = reduced_mask(mask, *maps.shape[2:]).flatten().long().clamp(max=num_classes)
    members = F.one_hot(labels, num_classes + 1).to(maps.dtype)[:, :rows]  # (N h w, rows)
    sums = members.T @ maps.permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat([sums, members.sum(0)[:, None]], dim=1)


def _sums_of_pixels(maps: Tensor, mask: Tensor, num_classes: int, rows: int) -> Tensor:
    """The same of enlarged maps, which are not made: each pixel's share in the four places that it lies between."""
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
    sums = shares.view(num_classes + 1, -1)[:rows] @ maps.permute(0, 2, 3, 1).flatten(0, 2)
    pixels = F.one_hot(labels.flatten(), num_classes + 1).sum(0)[:rows, None]
    return torch.cat([sums, pixels.to(sums.dtype)], dim=1)


def _neighbours(size: int, small: int, maps: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of so many places, the two among few that each lies between (corners aligned), and its share in them."""
    at = torch.arange(size, device=maps.device, dtype=maps.dtype) * ((small - 1) / max(1, size - 1))
    first = at.floor().long().clamp(max=small - 1)
    share = at - first
    return [(first, 1 - share), ((first + 1).clamp(max=small - 1), share)]


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


def _precise(values: Tensor) -> Tensor:
    """Values in a precision in which long sums are exact enough."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

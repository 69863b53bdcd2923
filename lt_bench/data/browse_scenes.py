"""What is on a sheet of scenes: each as it is evaluated, its mask in colours, and both under draws of every view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lt_bench.augment.described import written
from lt_bench.config.schema import Config
from lt_bench.contracts import Method
from lt_bench.data.batches.scene_crops import nearest
from lt_bench.data.batches.source import RankShare
from lt_bench.data.load import Data
from lt_bench.data.palette import overlaid
from lt_bench.models.masks import NO_LABEL

NAMED = 6  # classes of a scene


def positions_of(data: Data, classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first training scene that has each of some classes; of masks in files, which are not read, evenly spaced."""
    labels = data.train.labels
    if labels.ndim == 1:
        return np.unique(np.linspace(0, len(labels) - 1, len(classes)).round().astype(np.int64))
    found = [(labels == int(label)).flatten(1).any(1).nonzero()[:1, 0].tolist() for label in classes]
    return np.array([*dict.fromkeys(where for some in found for where in some)], dtype=np.int64)


def scene_cells(
    config: Config, data: Data, method: Method, classes: NDArray[np.int64], draws: int
) -> tuple[NDArray[np.uint8], list[str], list[tuple[str, int]]]:
    """Cells (R, K, S, S, 3) uint8, names of the scenes' classes, and each view's name with its columns."""
    positions, size = positions_of(data, classes), data.seen.image_size
    rows, names = [], []
    for pixels, mask in _evaluated(data, positions):
        shown = overlaid(pixels, nearest(mask, *pixels.shape[:2]))
        rows.append([_square(pixels, size), _square(shown, size)])
        names.append(_classes(data, mask))
    scenes: Any = data.train
    order, every = torch.from_numpy(positions), slice(0, len(positions))
    for draw in range(draws):
        generator = torch.Generator().manual_seed(config.seed + 1 + draw)
        share = RankShare(0, every, every)
        (batch,) = scenes.batches(order, [share], method.views, lambda step, one=generator: one)
        for row, image, mask in zip(rows, batch.views[0], batch.labels, strict=True):
            row.append(_square(overlaid(_pixels(data, image), mask.numpy()), size))
    headings = [("evaluated", 1), ("classes", 1), (written(method.views[0]), draws)]
    return np.stack([np.stack(row) for row in rows]), names, headings


def _evaluated(data: Data, positions: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Some training scenes as they are evaluated, (h, w, 3), with their masks as they are stored, (H, W)."""
    scenes: Any = data.at(data.split.train[positions])
    for images, masks in scenes.evaluated(slice(0, len(positions)), 1):
        yield _pixels(data, images[0]), masks[0].numpy()


def _pixels(data: Data, image: torch.Tensor) -> NDArray[np.uint8]:
    values = image.permute(1, 2, 0).numpy() * np.array(data.seen.std) + np.array(data.seen.mean)
    return (255 * values).round().clip(0, 255).astype(np.uint8)


def _square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Pixels within a white square; those of a larger scene are made fewer."""
    image = Image.fromarray(pixels)
    image.thumbnail((size, size))
    canvas = Image.new("RGB", (size, size), "white")
    canvas.paste(image)
    return np.asarray(canvas)


def _classes(data: Data, mask: NDArray[np.uint8]) -> str:
    """The classes of a scene, the rarest first."""
    there = [label for label in np.unique(mask).tolist() if label != NO_LABEL]
    there.sort(key=lambda label: data.train_counts[label])
    names = [data.class_names[label] if data.class_names else f"class {label}" for label in there]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

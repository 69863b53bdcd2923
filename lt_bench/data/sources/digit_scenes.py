"""Scenes of scikit-learn's digits with a mask of every pixel's class: nothing to download, and a long tail to cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources import digits
from lt_bench.data.sources.common import SceneArrays, Scenes, grey_to_rgb
from lt_bench.data.splits.imbalance import class_counts, positions_by_class
from lt_bench.models.masks import NO_LABEL

GRID, CELL = 3, 16  # cells of a scene in each direction, and pixels of a cell
MOST = 4  # digits of a scene, which are 1, 2, 3, 4, 1, 2 ...
CERTAIN, POSSIBLE = 8, 4  # grey values from which a pixel is of its digit, and from which it has no label


def load(root: Path, split_seed: int = 0, imbalance_factor: float | None = None) -> SceneArrays:
    """Scenes of 48 x 48 pixels, class 0 the background and d + 1 the digit d; training scenes with a long tail.

    Of the pool of digits (120 of each) ``imbalance_factor`` keeps the exponential profile, None all. The classes of
    pixels are as rare as their digits. Nothing is read below ``root``.
    Source: none, these scenes are this package's own.
    """
    source, random = digits.load(root), np.random.RandomState(split_seed)
    counts = class_counts(digits.POOL_PER_CLASS, digits.NUM_CLASSES, imbalance_factor or 1.0, "exponential")
    chosen = []
    for positions, count in zip(positions_by_class(source.train_labels, digits.NUM_CLASSES), counts, strict=True):
        random.shuffle(positions)
        chosen.append(positions[:count])
    kept = np.concatenate(chosen)
    tested = np.concatenate(positions_by_class(source.test_labels, digits.NUM_CLASSES))
    return SceneArrays(
        _scenes(source.train_images[kept, 0], source.train_labels[kept], random),
        _scenes(source.test_images[tested, 0], source.test_labels[tested], np.random.RandomState(0)),
        digits.NUM_CLASSES + 1,
        ["background", *map(str, range(digits.NUM_CLASSES))],
    )


def _scenes(grey: NDArray[np.uint8], labels: NDArray[np.int64], random: np.random.RandomState) -> Scenes:
    """Digits (N, 8, 8) in random order, each doubled in a cell of its own of one of the scenes."""
    order = random.permutation(len(labels))
    images, masks = list[NDArray[np.uint8]](), list[NDArray[np.uint8]]()
    while len(order):
        taken, order = np.split(order, [1 + len(images) % MOST])
        image = np.zeros((GRID, CELL, GRID, CELL), dtype=np.uint8)
        mask = np.zeros_like(image)
        for number, cell in zip(taken, random.permutation(GRID**2)[: len(taken)], strict=True):
            doubled = np.kron(grey[number], np.ones((2, 2), dtype=np.uint8))
            value = np.rint(doubled * (16 / 255))
            row, column = divmod(int(cell), GRID)
            image[row, :, column] = doubled
            certain = np.where(value >= POSSIBLE, NO_LABEL, 0)
            mask[row, :, column] = np.where(value >= CERTAIN, labels[number] + 1, certain)
        images.append(image.reshape(GRID * CELL, GRID * CELL))
        masks.append(mask.reshape(GRID * CELL, GRID * CELL))
    return Scenes(grey_to_rgb(np.stack(images)), np.stack(masks))

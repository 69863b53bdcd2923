"""scikit-learn's handwritten digits: 1797 grey images of 8 x 8 in ten classes, part of the library itself."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lt_bench.data.sources.common import ImageArrays, grey_to_rgb
from lt_bench.data.splits.imbalance import positions_by_class

NUM_CLASSES = 10
TEST_PER_CLASS = 50
POOL_PER_CLASS = 120


def load(root: Path, download: bool = True) -> ImageArrays:
    """1200 training images, 120 per class, and 500 test images, 50 per class, (N, 3, 8, 8) in file order.

    The test images are the last 50 of each class in file order, the training images the first 120: the file keeps a
    writer's digits together, so the test images are mostly of other writers (nearest neighbour 95.8 % correct, on
    random cuts of the same sizes 98.4 to 98.8 %). Grey values 0 .. 16 are scaled to 0 .. 255 and rounded. Nothing is
    read below ``root`` and nothing is downloaded.
    """
    table = np.loadtxt(_file(), delimiter=",", dtype=np.uint8)
    images = grey_to_rgb(np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8))
    labels = table[:, -1].astype(np.int64)
    classes = positions_by_class(labels, NUM_CLASSES)
    train = np.sort(np.concatenate([positions[:-TEST_PER_CLASS][:POOL_PER_CLASS] for positions in classes]))
    test = np.sort(np.concatenate([positions[-TEST_PER_CLASS:] for positions in classes]))
    return ImageArrays(
        images[train], labels[train], images[test], labels[test], NUM_CLASSES, [*map(str, range(NUM_CLASSES))]
    )


def _file() -> Path:
    """The file as it lies in scikit-learn, which is not imported: that takes longer than many a run."""
    found = find_spec("sklearn")
    assert found is not None and found.origin is not None  # a requirement of this package
    return Path(found.origin).with_name("datasets") / "data" / "digits.csv.gz"

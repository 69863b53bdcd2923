"""Lists of splits for tests: of four classes, in two splits, written as text or as arrays."""

import numpy as np
import pytest

from lt_bench.data.splits.from_lists import read_split

LABELS = np.random.RandomState(0).permutation(np.repeat(np.arange(4), 50))
SIZES = [40, 18, 8, 4]  # of 40 per class that 40 held out images leave, at imbalance factor 10


def lists(seed=0):
    """Lists of two splits, whose classes have another order by size in the second."""
    random = np.random.RandomState(seed)
    pools = [random.permutation(np.flatnonzero(LABELS == label)) for label in range(4)]
    found = {"validation": np.concatenate([pool[:10] for pool in pools])}
    rest = [pool[10:] for pool in pools]
    found["probe_full"] = np.concatenate([pool[:30] for pool in rest])
    for number, order in ((1, (2, 0, 3, 1)), (2, (1, 3, 0, 2))):
        chosen = [random.permutation(rest[label])[:size] for label, size in zip(order, SIZES, strict=True)]
        found[f"split{number}/train"] = np.concatenate(chosen)
        for shots in (5, 10):
            found[f"split{number}/probe_{shots}shot"] = np.concatenate([pool[number : number + shots] for pool in rest])
    return found


def write(folder, found, binary=()):
    for name, positions in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in binary:
            np.save(path.with_suffix(".npy"), positions)
        else:
            path.with_suffix(".txt").write_text("\n".join(map(str, positions)))


def read(folder, number=1, factor=10.0):
    return read_split(folder, number, LABELS, 4, factor=factor, profile="exponential")


def said(folder, **changes):
    with pytest.raises(ValueError) as caught:
        read(folder, **changes)
    return str(caught.value)

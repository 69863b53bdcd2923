"""Long-tailed class profiles, and the choice of the images that fill them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lt_bench.errors import DataError, UsageError

Profile = Literal["exponential", "step"]


def class_counts(largest: int, num_classes: int, factor: float, profile: Profile) -> list[int]:
    """Images per class of a long-tailed profile: C numbers, class 0 the largest, ``factor`` = largest / smallest.

    exponential: int(largest * (1 / factor) ** (k / (C - 1))), k = 0 .. C - 1, truncated, in double precision;
    step: the first C // 2 classes keep ``largest`` images, the others int(largest / factor).
    Raises UsageError for a factor below 1, an unknown profile, and where a class would be empty.
    Source: Cao et al., NeurIPS 2019, authors' code.  Deviation: with an odd C the last class joins the tail of the
    step profile, where the authors' code drops it.
    """
    if not factor >= 1:
        raise UsageError(f"imbalance.factor is largest / smallest class and at least 1, not {factor:g}")
    if num_classes < 1:
        raise ValueError(f"a profile needs at least one class, not {num_classes}")
    tail = 1.0 / factor
    if profile == "exponential":
        steps = max(num_classes - 1.0, 1.0)  # one class alone stays whole
        counts = [int(largest * tail ** (k / steps)) for k in range(num_classes)]
    elif profile == "step":
        head = num_classes // 2
        counts = [largest] * head + [int(largest * tail)] * (num_classes - head)
    else:
        raise UsageError(f"imbalance.profile is exponential or step, not {profile!r}")
    if 0 in counts:
        lower = f"imbalance.factor below {largest}, " if largest > 1 else ""
        raise UsageError(
            f"class {counts.index(0)} would have no image: the largest class has {largest} and imbalance.factor is "
            f"{factor:g}; set {lower}imbalance=native to keep all images, or dataset.pool_per_class=null or higher"
        )
    return counts


def positions_by_class(labels: NDArray[np.integer], num_classes: int) -> list[NDArray[np.int64]]:
    """Positions of every class in ``labels`` (N,), ascending: C arrays, empty where a class has no image.

    Raises DataError for a label outside 0 .. C - 1.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise DataError(f"labels lie in 0 .. {num_classes - 1}, found {labels.min()} .. {labels.max()}")
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    return np.split(np.argsort(labels, kind="stable"), ends[:-1])


def select(labels: NDArray[np.integer], counts: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Positions (M,) of ``counts[k]`` images per class: class blocks in ascending order, shuffled inside.

    Every class is shuffled at its full length by one ``numpy.random.RandomState(seed)``, so the images of a larger
    imbalance factor are, class by class, a prefix of those of a smaller one.
    Shapes: labels (N,), counts (C,).  Raises UsageError where a class has fewer images than wanted.
    Source: Cao et al., NeurIPS 2019, authors' code.  Deviation: the global generator is left alone.
    """
    random = np.random.RandomState(seed)
    chosen = []
    for label, positions in enumerate(positions_by_class(labels, len(counts))):
        if len(positions) < counts[label]:
            raise UsageError(
                f"class {label} has {len(positions)} images, the profile wants {counts[label]}; use "
                "imbalance=native, or give every class the same pool with dataset.pool_per_class"
            )
        random.shuffle(positions)
        chosen.append(positions[: counts[label]])
    return np.concatenate(chosen)

"""Training scenes that are set aside for validation, so that rare classes have some there and keep some to train on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.splits.split import LEAST_FOR_VALIDATION, VALIDATION_STREAM, Split
from lt_bench.errors import UsageError


def split_scenes(present: NDArray[np.bool_], fraction: float, seed: int) -> Split:
    """The train and the validation part of scenes with classes (N, C): no tail is cut.

    From the rarest class on, ``fraction`` of the scenes of every class that 5 or more have, at least one, are set
    aside, of which scenes of rarer classes that are there already count; none that is the last of a class. What is
    drawn is a function of the arguments alone. Raises UsageError for a fraction of 1, and where no scene can be taken.
    Source: Sechidis et al., ECML 2011 (iterative stratification).  Deviation: one part, and classes in a fixed order.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"dataset.validation_fraction is at least 0 and below 1, not {fraction:g}")
    counts = present.sum(0)
    aside, left = np.zeros(len(present), dtype=bool), counts.copy()
    random = np.random.RandomState((seed, VALIDATION_STREAM))
    for label in np.argsort(counts, kind="stable") if fraction else ():
        positions = random.permutation(np.flatnonzero(present[:, label]))
        wanted = max(1, int(counts[label] * fraction)) if counts[label] >= LEAST_FOR_VALIDATION else 0
        wanted -= int(aside[positions].sum())
        for position in positions[~aside[positions]]:
            if wanted > 0 and (left[present[position]] > 1).all():
                aside[position], wanted = True, wanted - 1
                left -= present[position]
    if fraction and not aside.any():
        raise UsageError(
            f"dataset.validation_fraction={fraction:g} sets no scene aside: no class is in "
            f"{LEAST_FOR_VALIDATION} scenes, or each scene is the last of a class; set dataset.validation_fraction=0"
        )
    train = np.flatnonzero(~aside)
    return Split(train, np.flatnonzero(aside), left.tolist(), train)

"""Two networks on the same test scenes: how far other scenes would move the difference of their mean IoU.

Resampling draws from NumPy's frozen generator, so that equal predictions give equal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lt_bench.evaluation.metrics import HEADLINES
from lt_bench.evaluation.paired import RESAMPLES, span
from lt_bench.evaluation.predictions import Predictions
from lt_bench.evaluation.shots import Groups, shot_groups

AT_ONCE = 500  # draws, which are a matrix of as many rows as scenes


class Counted(NamedTuple):
    """Pixels of each scene and class, (N, C) float64: with that label, right of these, and labelled or predicted so."""

    labelled: np.ndarray
    hits: np.ndarray
    union: np.ndarray

    @classmethod
    def of(cls, predictions: Predictions) -> Counted:
        """Those of predictions that are counted by image."""
        assert predictions.by_image is not None
        image, label, guess, pixels = predictions.by_image.T
        shape = int(image.max(initial=-1)) + 1, len(predictions.train_counts)

        def summed(classes: np.ndarray, counts: np.ndarray) -> np.ndarray:
            table = np.zeros(shape)
            np.add.at(table, (image, classes), counts)
            return table

        labelled, hits = summed(label, pixels), summed(label, pixels * (label == guess))
        return cls(labelled, hits, labelled + summed(guess, pixels) - hits)

    def ious(self, draws: np.ndarray) -> np.ndarray:
        """The IoU of each class, (R, C), where scenes are there as often as ``draws`` (R, N) say; NaN for no pixel."""
        union = draws @ self.union
        return np.divide(draws @ self.hits, union, out=np.full(union.shape, np.nan), where=union > 0)


def same_scenes(one: Predictions, other: Predictions) -> bool:
    """Whether the scenes of two predictions, counted by image, have the same pixels of each class."""
    return np.array_equal(Counted.of(one).labelled, Counted.of(other).labelled)


def scene_intervals(pairs: Sequence[tuple[Predictions, Predictions]]) -> dict[str, tuple[float, float]]:
    """95 % intervals of the mean difference in ``miou`` and in each group if other test scenes had been drawn.

    As many scenes are drawn anew, whole and all together, because one has several classes; IoU follows from the pixels
    of each draw. Pairs with the same labels share their scenes, which are drawn together. An interval is NaN where a
    pair has no such classes in common, or a draw has none of them.
    Source: Efron, 1979.  Deviation: none.
    """
    kinds = dict[bytes, list[tuple[Counted, Counted, Groups]]]()
    for ours, theirs in pairs:
        one, other = Counted.of(ours), Counted.of(theirs)
        kinds.setdefault(one.labelled.tobytes(), []).append((one, other, _groups(ours, theirs)))
    random, total = np.random.RandomState(0), {name: np.zeros(RESAMPLES) for name in HEADLINES["segmentation"]}
    for alike in kinds.values():
        scenes = len(alike[0][0].labelled)
        for start in range(0, RESAMPLES, AT_ONCE):
            draws = random.multinomial(scenes, np.full(scenes, 1 / scenes), size=AT_ONCE).astype(np.float64)
            for one, other, groups in alike:
                ious = one.ious(draws), other.ious(draws)
                for name, classes in groups.items():
                    gap = _mean(ious[0][:, classes]) - _mean(ious[1][:, classes])
                    total[name][start : start + AT_ONCE] += gap / len(pairs)
    return {name: span(values) for name, values in total.items()}


def _groups(ours: Predictions, theirs: Predictions) -> Groups:
    """All classes, and those of each group that both have; none where they group their classes otherwise."""
    every, groups = np.arange(len(ours.train_counts)), shot_groups(ours.train_counts, ours.group_rule)
    alike = ours.group_rule == theirs.group_rule and np.array_equal(ours.train_counts, theirs.train_counts)
    return {"miou": every, **{name: classes if alike else every[:0] for name, classes in groups.items()}}


def _mean(ious: np.ndarray) -> np.ndarray:
    """The mean over classes, (R, C) -> (R,), without NaN; NaN for none."""
    known = (~np.isnan(ious)).sum(axis=1)
    return np.divide(np.nansum(ious, axis=1), known, out=np.full(len(ious), np.nan), where=known > 0)

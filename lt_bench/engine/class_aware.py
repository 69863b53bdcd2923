"""Orders of the training images that balance the classes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.splits.imbalance import positions_by_class
from lt_bench.errors import DataError, SettingError


def _cycle(items: list[int], generator: random.Random) -> Iterator[int]:
    """Endless passes over ``items``, shuffled before every pass and not before its first item is asked for."""
    while True:
        generator.shuffle(items)
        yield from items


class ClassAwareOrder:
    """Class-aware sampling: classes in turn, ``images_per_class_visit`` images of the class at every visit.

    One cycle runs over the classes and one over the images of each class; all are shuffled by one
    ``random.Random(seed)`` before every pass and go on from epoch to epoch. An epoch has ``length`` positions, by
    default largest class x C; a visit that reaches beyond its end is cut.
    Source: Kang et al., ICLR 2020 (classifier re-training), authors' code.  Deviation: a generator of its own.
    """

    def __init__(
        self, labels: NDArray[np.integer], seed: int, images_per_class_visit: int = 4, length: int | None = None
    ) -> None:
        if images_per_class_visit < 1:
            raise SettingError("images_per_class_visit", "at least 1", images_per_class_visit, 4)
        self._positions = [positions.tolist() for positions in positions_by_class(labels, int(labels.max()) + 1)]
        if [] in self._positions:
            empty = self._positions.index([])
            raise DataError(f"class-aware sampling visits every class, but class {empty} has no image")
        self._seed = seed
        self._per_visit = images_per_class_visit
        self.length = max(map(len, self._positions)) * len(self._positions) if length is None else length
        self._restart()

    def __len__(self) -> int:
        return self.length

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """Positions (length,) in the labels of pass ``epoch``, counted from 0.

        Passes that were not asked for are replayed, an earlier pass from the seed on: the answer is a function of
        the arguments alone, and consecutive passes cost one pass each.
        """
        if epoch < self._next_epoch:
            self._restart()
        while self._next_epoch < epoch:
            self._advance()
        return np.array(self._advance(), dtype=np.int64)

    def _restart(self) -> None:
        generator = random.Random(self._seed)
        self._next_epoch = 0
        self._classes = _cycle(list(range(len(self._positions))), generator)
        self._images = [_cycle(positions.copy(), generator) for positions in self._positions]

    def _advance(self) -> list[int]:
        order: list[int] = []
        for label in islice(self._classes, -(-self.length // self._per_visit)):
            order += islice(self._images[label], self._per_visit)
        self._next_epoch += 1
        return order[: self.length]

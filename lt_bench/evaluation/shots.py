"""Shot groups: which classes count as many, medium and few."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Groups = dict[str, np.ndarray]
GROUPS = ("many", "medium", "few")


class ShotRule(NamedTuple):
    """A rule that groups classes by their training images, and the words a table uses for it."""

    description: str
    split: Callable[[np.ndarray], Groups]


def _count_100_20(train_counts: np.ndarray) -> Groups:
    many, few = train_counts > 100, train_counts < 20
    return {name: np.flatnonzero(mask) for name, mask in zip(GROUPS, (many, ~many & ~few, few), strict=True)}


def _count_100_20_at_100(train_counts: np.ndarray) -> Groups:
    rank = np.argsort(np.argsort(-train_counts, kind="stable"))
    return _count_100_20(np.floor(train_counts.max(initial=0) * 100.0 ** (-rank / max(len(rank) - 1, 1))))


def _thirds(train_counts: np.ndarray) -> Groups:
    order = np.argsort(-train_counts, kind="stable")
    third = len(order) // 3
    edges = [len(order) - 2 * third, len(order) - third]
    return dict(zip(GROUPS, map(np.sort, np.split(order, edges)), strict=True))


RULES = {
    "count_100_20": ShotRule("many: more than 100 training images, few: fewer than 20", _count_100_20),
    "count_100_20_at_100": ShotRule(
        "those that the classes, sorted by training images, have at imbalance factor 100: many > 100, few < 20",
        _count_100_20_at_100,
    ),
    "thirds": ShotRule("classes sorted by training images, cut in three", _thirds),
}


def shot_groups(train_counts: np.ndarray, rule: str) -> Groups:
    """Class ids, ascending, of the groups "many", "medium" and "few"; a group may be empty.

    Shapes: train_counts (C,), indexed by class id.
    Rules: "count_100_20" (Liu et al., CVPR 2019): many n > 100, medium 20 <= n <= 100, few n < 20.
    "count_100_20_at_100" (LIFT, authors' code for CIFAR-100-LT at factors 10 and 50): the same of the counts that an
    exponential profile of factor 100 from the largest class gives; classes by count, ties by class id.
    "thirds" (Zhou et al., NeurIPS 2023, authors' code): classes by count, largest first, ties by class id; medium and
    few have C // 3 classes each and the remainder goes to many (100 classes: 34, 33, 33).
    Raises ValueError for an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"unknown group rule {rule!r}: expected one of {', '.join(RULES)}")
    return RULES[rule].split(np.asarray(train_counts, dtype=np.int64))

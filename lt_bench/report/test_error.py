"""The standard error that a small test set alone gives an accuracy, whatever the runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lt_bench.evaluation.shots import RULES, shot_groups
from lt_bench.report.sections import Section

SMALL = 200  # test images; of fewer, an accuracy of 50 % has a standard error above 3.5 points
TEST_ERROR = "± test"
EXPLAINED = (
    f"{TEST_ERROR}: the standard error that the test images of one run alone give the accuracies of a row, "
    "many / medium / few / all, sqrt(p (1 − p) / images)"
)


def tested(metrics: Mapping[str, Any], rule: str) -> dict[str, int]:
    """The test images behind every accuracy of a record, as columns of a frame; none where nobody knows them."""
    return _tested(*(tuple(metrics.get(f"{part}_counts") or ()) for part in ("train", "test")), rule)


@lru_cache(256)  # runs of a study have the same images
def _tested(of_train: tuple[int, ...], of_test: tuple[int, ...], rule: str) -> dict[str, int]:
    train, test = (np.array(counts, dtype=np.int64) for counts in (of_train, of_test))
    if not len(test) or len(test) != len(train) or rule not in RULES:
        return {}
    groups = {name: int(test[classes].sum()) for name, classes in shot_groups(train, rule).items()}
    return {column(name): count for name, count in (groups | {"top1": int(test.sum())}).items()}


def column(name: str) -> str:
    """The column of a frame that has the test images of an accuracy."""
    return f"{name}_tested"


def is_small(section: Section) -> bool:
    """Whether every run of a section has a small test set."""
    images = pd.concat([row.runs["test_images"] for row in section.rows])
    return bool((images < SMALL).all())


def test_error(runs: pd.DataFrame, name: str) -> float:
    """The mean over runs of the binomial standard error of an accuracy; NaN where it is not known, as for 0 and 1."""
    if column(name) not in runs:
        return float("nan")
    share, images = runs[name], runs[column(name)]
    squared = (share * (1 - share) / images).where((images > 0) & (share > 0) & (share < 1))
    return float(squared.pow(0.5).mean(skipna=False))

"""Average ranks of methods over data sets and factors, and which of them Nemenyi's test does not tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import METRICS
from lt_bench.evaluation.ranks import LEVEL, ranking
from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import NotPossible, Study
from lt_bench.figures.style import COLOURS, GREY, heading, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURED = ("top1", "miou", "few")


@dataclass(frozen=True)
class CriticalDifference:
    """Methods from the best to the worst mean rank (K,), the critical difference and Friedman's p-value.

    ``alike`` are the first and the last of each longest run of methods that are no critical difference apart.
    """

    about: str
    metric: str
    labels: list[str]
    mean: np.ndarray
    distance: float
    p: float
    alike: list[tuple[int, int]]


def collect_all(studies: Sequence[Study]) -> Iterator[Drawing]:
    """One figure by the accuracy of all classes, and one by that of those with few images, where records have it.

    Studies of validation images are left out beside those of test images.
    """
    tested = [study for study in studies if study.rows[0].runs[0].record.evaluated_on == "test"] or studies
    reasons, drawn = [], False
    for name in MEASURED:
        scores = {study.name: own for study in tested if (own := dict(_scores(study, name)))}
        if not scores:
            continue
        try:
            found = ranking(scores, METRICS[name].better)
        except UsageError as error:
            reasons.append(f"by {METRICS[name].column}: {error}")
            continue
        about = f"{len(found.blocks)} tables: {', '.join(found.blocks)}"
        alike = cliques(found.mean, found.distance)
        data = CriticalDifference(
            about, METRICS[name].column, found.methods, found.mean, found.distance, found.p, alike
        )
        drawn = True
        yield Drawing(name, data)
    if not drawn:
        raise NotPossible(reasons[0] if reasons else "no row has its checkpoint from elsewhere than the test set")


def _scores(study: Study, name: str) -> Iterator[tuple[str, float]]:
    """The mean over models of rows whose checkpoints were not chosen on the test set."""
    for row in study.rows:
        values = row.per_model(name)
        if np.isfinite(values).all() and row.runs[0].record.selection != "best_test":
            yield row.label, float(values.mean())


def cliques(mean: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """First and last of every run of ascending ranks (K,) less than a distance apart that no longer one holds."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(mean):
        last = int(np.searchsorted(mean, rank + distance, side="left")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def draw(figure: Figure, data: CriticalDifference) -> None:
    """Names beside a point at each mean rank; thick lines join those that are not told apart."""
    rows = len(data.labels)
    figure.set_size_inches(figure.get_figwidth(), 0.27 * rows + 1.8)
    axes = figure.subplots()
    place = np.arange(rows)
    axes.plot(data.mean, place, linestyle="", marker="o", color=COLOURS[0])
    for where, rank in zip(place, data.mean, strict=True):
        axes.annotate(f"{rank:.2f}", (rank, where), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=7)
    _join(axes, data)
    axes.set_yticks(place, [wrapped(label, 34) for label in data.labels], fontsize=8)
    axes.set_ylim(rows - 0.4, -1.6)
    axes.set_xlim(0.8, rows + 0.2 + 0.12 * rows)
    axes.set_xticks(range(1, rows + 1, max(1, rows // 12)))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("mean rank (1 is the best)")
    told = "" if data.p < LEVEL else "; Friedman's test does not tell the methods apart"
    what = f"Mean ranks by {data.metric}, with Nemenyi's critical difference at 5 %; Friedman p = {data.p:.3f}{told}"
    heading(figure, what, data.about)


def _join(axes: Axes, data: CriticalDifference) -> None:
    """The critical difference as a scale above, and at the right a line for each run of methods not told apart."""
    end = min(1 + data.distance, len(data.labels) + 0.2)
    axes.plot([1, end], [-1, -1], color="black", linewidth=1.4, marker="|")
    axes.text((1 + end) / 2, -1.15, f"critical difference {data.distance:.2f}", ha="center", va="bottom", fontsize=8)
    width = 0.1 * len(data.labels) / max(1, len(data.alike))
    for number, (first, last) in enumerate(data.alike, start=1):
        where = len(data.labels) + 0.2 + number * width
        axes.plot([where, where], [first, last], color=GREY, linewidth=3, solid_capstyle="butt")

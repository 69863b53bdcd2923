"""Many, medium, few and all of every setting, with the deviation over its runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.evaluation.metrics import METRICS, headline
from lt_bench.evaluation.shots import GROUPS
from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import NotPossible, Study, mean_and_spread, told
from lt_bench.figures.style import COLOURS, HATCHES, heading, percent, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 40


@dataclass(frozen=True)
class GroupBars:
    """Accuracies of every row, (R, 4): many, medium, few, all; NaN where a group has no tested class."""

    about: str
    labels: list[str]
    counts: list[int]
    mean: np.ndarray
    spread: np.ndarray
    note: str
    names: tuple[str, ...] = (*GROUPS, "all")


def collect(study: Study) -> Iterator[Drawing]:
    """One figure for each forty rows."""
    measured = headline(study.rows[0].runs[0].record.metrics)
    names = tuple(METRICS[name].column for name in measured)
    for start in range(0, len(study.rows), MOST_ROWS):
        rows = study.rows[start : start + MOST_ROWS]
        values = [np.stack([row.per_model(name) for name in measured], axis=1) for row in rows]
        if any(not np.isfinite(one).any() for one in values):
            raise NotPossible("the records have no accuracies")
        pairs = [mean_and_spread(one) for one in values]
        mean, spread = (np.stack([pair[part] for pair in pairs]) for part in (0, 1))
        counts = [len(one) for one in values]
        number = f"{start // MOST_ROWS + 1}" if len(study.rows) > MOST_ROWS else ""
        labels = [row.label for row in rows]
        yield Drawing(number, GroupBars(study.title, labels, counts, mean, spread, told(rows), names))


def draw(figure: Figure, data: GroupBars) -> None:
    """A panel for each group, whose bars share the names at the left."""
    height = 0.27 * len(data.labels)
    figure.set_size_inches(figure.get_figwidth(), height + 1.35)
    panels = figure.subplots(1, len(data.names), sharey=True)
    place = np.arange(len(data.labels))
    known = data.mean[np.isfinite(data.mean)]
    right = max(0.05, float(known.max()))
    for column, (axes, name) in enumerate(zip(panels, data.names, strict=True)):
        mean, spread = data.mean[:, column], data.spread[:, column]
        bars = np.nan_to_num(mean)
        axes.barh(place, bars, height=0.72, color=COLOURS[column], hatch=HATCHES[column], edgecolor="white", alpha=0.9)
        seen = np.isfinite(spread)
        axes.errorbar(mean[seen], place[seen], xerr=spread[seen], fmt="none", ecolor="black", capsize=2, linewidth=1)
        for where, value, more in zip(place, mean, np.nan_to_num(spread), strict=True):
            text = f" {100 * value:.1f}" if np.isfinite(value) else " no tested class"
            axes.text(np.nan_to_num(value) + more, where, text, va="center", ha="left", fontsize=7.5)
        axes.set_title(name)
        axes.set_xlim(0, right * 1.38)
        axes.set_ylim(len(place) - 0.4, -0.6)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        percent(axes.xaxis)
    differ = len(set(data.counts)) > 1
    named = [
        f"{label}, n = {count}" if differ else label for label, count in zip(data.labels, data.counts, strict=True)
    ]
    panels[0].set_yticks(place, [wrapped(label, 34) for label in named], fontsize=8)
    what = "IoU" if "mIoU" in data.names else "accuracy"
    figure.supxlabel(f"{what} in %", fontsize=9)
    heading(figure, f"{what[0].upper()}{what[1:]} by number of training images: {data.note}", data.about)

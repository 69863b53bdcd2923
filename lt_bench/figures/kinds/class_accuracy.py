"""Training images and accuracy of the classes from head to tail, several methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import NotPossible, Study, mean_and_spread, told
from lt_bench.figures.style import COLOURS, GREY, counts_axis, heading, legend_below, looks, percent, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = len(COLOURS)
NAMED = 24  # classes whose names stand on the axis; more are smoothed


@dataclass(frozen=True)
class ClassAccuracy:
    """Classes from head to tail: their images, and of each method mean accuracy and deviation, NaN where not known.

    Shapes: counts (C,), mean and spread (C,) of each label; ``window`` classes are averaged around each one.
    """

    about: str
    counts: np.ndarray
    borders: dict[str, tuple[int, int]]
    names: list[str]
    labels: list[str]
    means: list[np.ndarray]
    spreads: list[np.ndarray]
    window: int
    note: str
    what: str = "accuracy"


def collect(study: Study) -> Iterator[Drawing]:
    """One figure with the first eight rows."""
    order, rows = study.order, study.rows[:MOST_ROWS]
    window = 1 if len(order) <= NAMED else max(3, len(order) // 15) | 1
    what, scores = study.score
    means, spreads = [], []
    for row in rows:
        values = row.per_model(scores)
        if values.ndim != 2:
            raise NotPossible("the records do not have the accuracy of every class")
        mean, spread = mean_and_spread(np.stack([smooth(one[order], window) for one in values]))
        means.append(mean)
        spreads.append(spread)
    left = len(study.rows) - len(rows)
    note = told(rows) + (f"; {len(rows)} of {len(study.rows)} rows" if left else "")
    names = [study.class_names[label] for label in order]
    labels = [row.label for row in rows]
    counts = study.train_counts[order]
    curves = (labels, means, spreads, window, note)
    yield Drawing("", ClassAccuracy(study.title, counts, study.borders, names, *curves, what))


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean (C,) over ``window`` values (odd), fewer at the ends; unknown ones are left out, alone they stay."""
    known = np.isfinite(values)
    ones = np.ones(window)
    total = np.convolve(np.where(known, values, 0.0), ones)[window // 2 :][: len(values)]
    count = np.convolve(known.astype(float), ones)[window // 2 :][: len(values)]
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0.5)


def draw(figure: Figure, data: ClassAccuracy) -> None:
    """Counts above, on a logarithmic axis, and accuracies below."""
    figure.set_size_inches(figure.get_figwidth(), 5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2.6])
    place = np.arange(len(data.counts))
    shown = np.maximum(data.counts, 0.8)  # a class without images has a bar of its own, too
    if few := len(place) <= NAMED:
        above.bar(place, shown, color=GREY)
    else:
        above.stairs(shown, np.arange(len(place) + 1) - 0.5, fill=True, color=GREY, baseline=0.5)
    counts_axis(above)
    for look, label, mean, spread in zip(looks(len(data.labels)), data.labels, data.means, data.spreads, strict=True):
        every = 1 if few else len(place) // 10
        below.plot(place, mean, color=look.colour, linestyle=look.line, marker=look.marker, markersize=4,
                   markevery=every, label=label)  # fmt: skip
        if np.isfinite(spread).any():
            below.fill_between(
                place,
                mean - spread,
                mean + spread,
                color=look.colour,
                alpha=0.15 if len(data.means) < 4 else 0.07,
                linewidth=0,
            )
    smoothing = f"\n(running mean over {data.window} classes)" if data.window > 1 else ""
    below.set_ylabel(f"{data.what} in %{smoothing}")
    percent(below.yaxis)
    below.set_xlim(-0.6, len(place) - 0.4)
    _classes(below, data, few)
    mark_groups([above, below], data.borders)
    legend_below(figure, below)
    heading(figure, f"{data.what[0].upper()}{data.what[1:]} of the classes, from head to tail: {data.note}", data.about)


def _classes(axes: Axes, data: ClassAccuracy, few: bool) -> None:
    axes.set_xlabel("class, from most to fewest training images")
    if few:
        names = [words(name, 18) for name in data.names]
        long = max(map(len, names)) > 3
        axes.set_xticks(range(len(names)), names)
        if long:
            axes.tick_params(axis="x", labelrotation=90)


def mark_groups(panels: list[Axes], borders: dict[str, tuple[int, int]]) -> None:
    """A line between the groups in every panel, and their names above the first."""
    for axes in panels:
        for start, _ in borders.values():
            if start:
                axes.axvline(start - 0.5, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    for name, (start, end) in borders.items():
        panels[0].text((start + end - 1) / 2, 1.02, name, transform=panels[0].get_xaxis_transform(), ha="center",
                       va="bottom", fontsize=8, color="black")  # fmt: skip

"""Confusion matrix of every setting, from head to tail; of many classes, blocks of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.evaluation.predictions import Predictions
from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import Study
from lt_bench.figures.style import GREY, PALE, heading, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES, BLOCKS = 200, 60
NAMED, WRITTEN = 30, 12  # classes whose names stand beside the matrix, and cells with their numbers in them


@dataclass(frozen=True)
class Confusion:
    """Share of the images of each class (row) that are predicted as each class (column), (K, K) in [0, 1].

    ``counted`` is "images", or "pixels". Rows of classes without any are NaN. ``edges`` are the first classes of
    the blocks, (K + 1,), from head to tail; where every block is one class, ``names`` are theirs.
    """

    about: str
    label: str
    shares: np.ndarray
    edges: np.ndarray
    borders: dict[str, tuple[int, int]]
    names: list[str]
    runs: int
    counted: str = "images"


def collect(study: Study) -> Iterator[Drawing]:
    """One figure for each row, of all its runs together."""
    edges = blocks(len(study.order), study.borders)
    place = np.empty(len(study.order), dtype=np.int64)
    place[study.order] = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    names = [study.class_names[label] for label in study.order] if len(edges) == len(place) + 1 else []
    for row in study.rows:
        cells = np.sum([_cells(run.predictions(), place) for run in row.runs], axis=0)
        totals = cells.sum(axis=1, keepdims=True)
        shares = np.divide(cells, totals, out=np.full(cells.shape, np.nan), where=totals > 0)
        data = Confusion(study.title, row.label, shares, edges, study.borders, names, len(row.runs), study.counted)
        yield Drawing(row.label, data)


def blocks(classes: int, borders: dict[str, tuple[int, int]]) -> np.ndarray:
    """The first class of every block, and their end: one class each, or about sixty blocks that are in one group each.

    Shapes: (K + 1,) int64, ascending.
    """
    if classes <= MOST_CLASSES:
        return np.arange(classes + 1)
    parts = borders.values() if borders else [(0, classes)]
    inner = [
        np.linspace(start, end, max(1, round(BLOCKS * (end - start) / classes)) + 1).round()[:-1]
        for start, end in parts
    ]
    return np.unique(np.concatenate([*inner, [classes]])).astype(np.int64)


def _cells(predictions: Predictions, place: np.ndarray) -> np.ndarray:
    """Images per (block of the true class, block of the predicted class), (K, K) int64."""
    count = int(place.max()) + 1
    if predictions.confusion is not None:
        cells = np.zeros((count, count), dtype=np.int64)
        np.add.at(cells, (place[:, None], place[None, :]), predictions.confusion)
        return cells
    flat = place[predictions.labels] * count + place[predictions.predicted]
    return np.bincount(flat, minlength=count**2).reshape(count, count)


def draw(figure: Figure, data: Confusion) -> None:
    """A square of shares, dark for many, with the borders of the groups."""
    figure.set_size_inches(6.4, 6.2)
    axes = figure.subplots()
    axes.grid(False)
    axes.set_facecolor(PALE)  # where a class has no test image
    size = len(data.shares)
    image = axes.imshow(np.ma.masked_invalid(data.shares), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, label=f"share of the class's {data.counted} in %")
    bar.ax.set_yticks(np.linspace(0, 1, 6), [f"{100 * tick:.0f}" for tick in np.linspace(0, 1, 6)])
    for start, _ in data.borders.values():
        if start:
            edge = np.searchsorted(data.edges, start) - 0.5
            axes.axhline(edge, color="black", linewidth=0.9, linestyle="--")
            axes.axvline(edge, color="black", linewidth=0.9, linestyle="--")
    if size <= WRITTEN:
        _write_numbers(axes, data.shares)
    _ticks(axes, data)
    several = f"; each cell is a block of about {round(data.edges[-1] / size)} classes" if size < data.edges[-1] else ""
    empty = f"; grey: no test {data.counted.removesuffix('s')}" if np.isnan(data.shares).any() else ""
    runs = f", {data.runs} runs" if data.runs > 1 else ""
    heading(figure, f"Confusion of {data.label}{runs}{several}{empty}", data.about)


def _write_numbers(axes: Axes, shares: np.ndarray) -> None:
    for (true, predicted), share in np.ndenumerate(shares):
        if np.isfinite(share) and share >= 0.005:
            axes.text(predicted, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=7.5,
                      color="white" if share > 0.5 else "black")  # fmt: skip


def _ticks(axes: Axes, data: Confusion) -> None:
    """Names of the classes where there is room, and those of the groups."""
    axes.set_xlabel("predicted class, from most to fewest training images")
    axes.set_ylabel("true class, from most to fewest training images")
    if data.names and len(data.names) <= NAMED:
        names = [words(name, 18) for name in data.names]
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0, labelsize=8)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    for name, span in data.borders.items():
        start, end = (float(np.searchsorted(data.edges, one)) for one in span)
        axes.text((start + end - 1) / 2, -0.5 - 0.012 * len(data.shares), name, ha="center", va="bottom", fontsize=8,
                  color=GREY)  # fmt: skip

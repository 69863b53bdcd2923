"""Reliability diagram of every setting: accuracy over confidence, calibration error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.evaluation.calibration import confidences, reliability
from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import NotPossible, Study
from lt_bench.figures.style import COLOURS, GREY, heading, legend_below, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Images, sum of confidences and right ones of each bin (15,) over all runs; the calibration error of each run."""

    about: str
    label: str
    images: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    errors: list[float]


def collect(study: Study) -> Iterator[Drawing]:
    """One figure for each row whose runs have logits."""
    study.require_images()
    found = False
    for row in study.rows:
        parts, errors = [], []
        for run in row.runs:
            predictions = run.predictions()
            if predictions.confusion is not None:
                raise NotPossible("there are no logits, only confusion counts")
            bins = _sums(confidences(predictions.logits), predictions.predicted == predictions.labels)
            parts.append(bins)
            errors.append(float(np.abs(bins[1] - bins[2]).sum() / bins[0].sum()))
        found = True
        images, confidence, correct = np.sum(parts, axis=0)
        yield Drawing(row.label, Reliability(study.title, row.label, images, confidence, correct, errors))
    if not found:
        raise NotPossible("there is no row")


def _sums(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Images, sum of confidences and right ones of every bin, (3, 15) float64."""
    bins = reliability(confidence, correct, BINS)
    return np.stack([bins.images, *(np.nan_to_num(mean) * bins.images for mean in (bins.confidence, bins.accuracy))])


def draw(figure: Figure, data: Reliability) -> None:
    """Accuracy and gap of every bin beside the diagonal; below, where the images are."""
    figure.set_size_inches(4.8, 5.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = 1 / BINS
    left = np.arange(BINS) * width
    seen = data.images > 0
    accuracy, confidence = (part[seen] / data.images[seen] for part in (data.correct, data.confidence))
    above.bar(left[seen], accuracy, width=width, align="edge", color=COLOURS[0], edgecolor="white", label="accuracy")
    above.bar(left[seen], confidence - accuracy, bottom=accuracy, width=width, align="edge", facecolor="none",
              edgecolor=COLOURS[1], hatch="////", linewidth=0.9, label="gap to the confidence")  # fmt: skip
    above.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="calibrated")
    above.set_ylim(0, 1)
    above.set_ylabel("accuracy in %")
    mean = np.mean(data.errors)
    spread = f" ± {100 * np.std(data.errors, ddof=1):.1f}" if len(data.errors) > 1 else ""
    runs = f" over {len(data.errors)} runs" if len(data.errors) > 1 else ""
    box = {"facecolor": "white", "edgecolor": GREY, "boxstyle": "round,pad=0.3", "linewidth": 0.6}
    above.text(0.03, 0.96, f"ECE {100 * mean:.1f}{spread} %{runs}", transform=above.transAxes, va="top", bbox=box)
    share = data.images / data.images.sum()
    below.bar(left, share, width=width, align="edge", color=GREY, edgecolor="white")
    below.set_ylabel("images in %")
    below.set_xlabel("confidence of the predicted class in %")
    below.set_xlim(0, 1)
    below.set_ylim(0, max(share) * 1.1)
    for axis in (above.yaxis, below.yaxis, below.xaxis):
        percent(axis)
    legend_below(figure, above)
    count = int(data.images.sum())
    heading(figure, f"Reliability of {data.label} ({count:,} predictions, {BINS} bins)", data.about)

"""The surest wrong predictions of every setting, with both classes' names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.evaluation.calibration import confidences
from lt_bench.figures.images import evaluated_images
from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import NotPossible, Study
from lt_bench.figures.style import heading, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, MOST = 6, 24


@dataclass(frozen=True)
class ConfusedImages:
    """Images (K, H, W, 3) uint8 from the surest on, with names of true and predicted classes and confidences."""

    about: str
    label: str
    images: np.ndarray
    true: list[str]
    predicted: list[str]
    confidence: np.ndarray
    wrong: int
    total: int


def collect(study: Study) -> Iterator[Drawing]:
    """One figure for each row, of its first run."""
    study.require_images()
    for row in study.rows:
        run = row.runs[0]
        predictions = run.predictions()
        if predictions.confusion is not None:
            raise NotPossible("there are no logits, only confusion counts")
        wrong = np.flatnonzero(predictions.predicted != predictions.labels)
        if not len(wrong):
            continue
        confidence = confidences(predictions.logits)
        chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST]
        images = evaluated_images(run, predictions.labels, chosen)
        true, predicted = (
            [study.class_names[label] for label in labels[chosen]]
            for labels in (predictions.labels, predictions.predicted)
        )
        total = len(predictions.labels)
        data = ConfusedImages(study.title, row.label, images, true, predicted, confidence[chosen], len(wrong), total)
        yield Drawing(row.label, data)


def draw(figure: Figure, data: ConfusedImages) -> None:
    """A grid from the surest mistake on, row by row."""
    count = len(data.images)
    rows = -(-count // COLUMNS)
    figure.set_size_inches(figure.get_figwidth(), 1.5 * rows + 0.45)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, image, true, predicted, sure in zip(
        panels, data.images, data.true, data.predicted, data.confidence, strict=False
    ):
        axes.imshow(image, interpolation="nearest")
        names = f"{words(true, 18)}\n→ {words(predicted, 10)} ({100 * sure:.0f} %)"
        axes.set_title(names, fontsize=7.5, loc="center", pad=3)
    what = f"The {count} surest of {data.wrong:,} wrong predictions among {data.total:,}: {data.label}, one run"
    heading(figure, what, f"{data.about}: true class → predicted class, confidence")

"""What stored predictions show of a row: what is taken for what, and how sure it is of that."""

from __future__ import annotations

import numpy as np

from lt_bench.evaluation.by_class import most_confused
from lt_bench.evaluation.predictions import Predictions
from lt_bench.figures.kinds import confusion as matrix
from lt_bench.figures.kinds import reliability as diagram
from lt_bench.figures.studies import NotPossible, Study
from lt_bench.report.page.markup import Cell, figure, table, text
from lt_bench.report.page.svg import Axis, Panel, picture
from lt_bench.report.tables import number

MATRIX, MOST_CLASSES, PAIRS = 20, 1000, 12  # classes of a matrix, of a list of mistakes, and lines of that
SHADES = 9


def confusion(study: Study) -> str:
    """A shaded table of shares, or of many classes the pairs that are most confused; NotPossible without predictions.

    Of more than a thousand classes even their counts are too many to go through.
    """
    count = len(study.order)
    if count > MOST_CLASSES:
        raise NotPossible(
            f"{count:,} classes are too many for this page; python -m lt_bench.figures draws blocks of them"
        )
    return _matrix(study) if count <= MATRIX else _pairs(study)


def _matrix(study: Study) -> str:
    (drawing,) = matrix.collect(study)
    data: matrix.Confusion = drawing.data
    names = [*map(text, data.names)]
    rows = [[name, *map(_share, shares)] for name, shares in zip(names, data.shares, strict=True)]
    shares = f"Share of the {study.counted} of each class (row) that are predicted as each class (column), in %"
    return table(f"{shares}; classes from head to tail.", ["true", *names], rows, "matrix")


def _share(share: float) -> str | Cell:
    """A share in percent, the darker the larger; nothing for less than half a percent."""
    if not np.isfinite(share):
        return "–"
    shown = f"{100 * share:.0f}"
    return "" if shown == "0" else Cell(shown, f"class=h{min(SHADES, 1 + int(SHADES * share))}")


def _pairs(study: Study) -> str:
    first, *others = [run.predictions() for run in study.rows[0].runs]
    cells = sum((one.cells for one in others), start=first.cells.copy())
    found = most_confused(
        Predictions(confusion=cells, train_counts=first.train_counts, group_rule=first.group_rule), PAIRS
    )
    names = study.class_names
    rows = [
        [text(names[one.label]), text(names[one.predicted]), f"{100 * one.share:.1f}", f"{one.images:,}"]
        for one in found
    ]
    caption = f"The {len(rows)} pairs of classes that are most confused; there are too many classes for all of them."
    heads = ["true class", "predicted as", f"share of its {study.counted} in %", study.counted]
    return table(caption, heads, rows, "numbers")


def reliability(study: Study) -> str:
    """Accuracy over confidence in bins, and the calibration error; NotPossible without logits."""
    (drawing,) = diagram.collect(study)
    data: diagram.Reliability = drawing.data
    seen = np.maximum(data.images, 1)
    accuracy, confidence = 100 * data.correct / seen, 100 * data.confidence / seen
    panel = Panel(Axis(0, 100, "confidence in %"), Axis(0, 100, "accuracy in %"), width=300, height=260)
    edges = np.linspace(0, 100, diagram.BINS + 1)
    bars = panel.bars(edges, np.where(data.images > 0, accuracy, np.nan), "bar")
    rows = [
        [f"{low:.0f} – {high:.0f}", f"{images:,.0f}", number(sure), number(right)]
        for low, high, images, sure, right in zip(edges, edges[1:], data.images, confidence, accuracy, strict=False)
        if images
    ]
    parts = [panel.axes(), bars, panel.line([0, 100], [0, 100], "diagonal")]
    spread = f" ± {100 * np.std(data.errors, ddof=1):.1f}" if len(data.errors) > 1 else ""
    caption = f"Expected calibration error {100 * np.mean(data.errors):.1f}{spread} % (15 bins; dashed: calibrated)."
    shown = picture("Accuracy over confidence", [panel], parts)
    heads = ["confidence in %", "images", "mean confidence", "accuracy"]
    return f"<p>{caption}</p>{figure(shown, table('', heads, rows, 'numbers'))}"

"""Tables of classes from stored predictions: accuracies along the tail, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lt_bench.errors import UsageError
from lt_bench.evaluation.by_class import class_curve, most_confused
from lt_bench.evaluation.predictions import Predictions
from lt_bench.report.tables import Table, number

MOST = 12  # pairs of classes that are shown; the values have all
OTHERS = "The runs have other numbers of test images in a class: they may be of other data, with other classes."


def curve_table(labels: Sequence[str], found: Sequence[Predictions]) -> Table:
    """The accuracy in percent of each class, from the most training images of the first run to the fewest.

    Of pixels it is the IoU. UsageError where runs differ in the number of their classes, in known names of these, or in
    their task.
    """
    first = class_curve(found[0])
    for what, kinds in (
        ("number of classes", {len(one.train_counts) for one in found}),
        ("names of classes", {one.class_names for one in found if one.class_names}),
        ("task", {one.task for one in found}),
    ):
        if len(kinds) > 1:
            raise UsageError(f"the runs differ in their {what}: ask for their --per-class one by one")
    names = [class_name(found[0], label) for label in first.classes]
    points = [100 * one.scores[first.classes] for one in found]
    columns = {str(place): column for place, column in enumerate(points, start=1)}
    texts = {name: [number(value) for value in column] for name, column in columns.items()}
    images = [f"{count:,}" for count in first.train_counts]
    what = found[0].score_name
    told = "; ".join(f"{place}: {label}" for place, label in enumerate(labels, start=1))
    caption = [
        f"{what[0].upper()}{what[1:]} of each class in %, from the most training images to the fewest (those of 1); "
        f"{told}.",
        *[f"A dash: no test {found[0].counted.removesuffix('s')}."] * int(np.isnan(points).any()),
        *[OTHERS] * any(not np.array_equal(one.totals, found[0].totals) for one in found),
    ]
    cells = pd.DataFrame({"class": names, "training images": images, **texts})
    values = pd.DataFrame({"class": first.classes, "name": names, "train_count": first.train_counts, **columns})
    return Table("per_class", caption, cells, values)


def confusion_table(place: int, label: str, predictions: Predictions) -> Table:
    """The pairs of classes with the largest shares of mistakes; the values are all cells of the confusion matrix."""
    names = [class_name(predictions, one) for one in range(len(predictions.train_counts))]
    share = f"in % of its {predictions.counted}"
    shown = [
        {
            "class": names[one.label],
            "taken for": names[one.predicted],
            predictions.counted: f"{one.images:,}",
            share: number(100 * one.share),
        }
        for one in most_confused(predictions, MOST)
    ]
    true, predicted = np.nonzero(predictions.cells)
    images = predictions.cells[true, predicted]
    values = {
        "class": true,
        "predicted": predicted,
        predictions.counted: images,
        "share": 100 * images / predictions.totals[true],
    }
    caption = [f"What {label} takes for what: the {MOST} pairs with the largest shares; the CSV file has all cells."]
    cells = pd.DataFrame(shown, columns=["class", "taken for", predictions.counted, share])
    return Table(f"confusion_{place}", caption, cells, pd.DataFrame(values))


def class_name(predictions: Predictions, label: int) -> str:
    """The name of a class, or its number."""
    return str(label) if predictions.class_names is None else predictions.class_names[label]

"""Training images and accuracy, or IoU, of a row's classes, from head to tail."""

from __future__ import annotations

import numpy as np

from lt_bench.figures.studies import NotPossible, Study, mean_and_spread
from lt_bench.report.page.markup import figure, table, text
from lt_bench.report.page.svg import Axis, Panel, picture
from lt_bench.report.tables import number

COUNTS, PICTURE = 90, 210  # heights of the two panels


def per_class(study: Study, most: int) -> str:
    """The picture and its table, of neighbouring classes together where there are more than ``most``.

    Raises NotPossible where the records do not say.
    """
    row = study.rows[0]
    what, scores = study.score
    values = row.per_model(scores)
    if values.ndim != 2 or values.shape[1] != len(study.order):
        raise NotPossible("the records do not have the accuracy of every class")
    blocks = np.array_split(study.order, min(most, len(study.order)))
    counts = np.array([study.train_counts[block].mean() for block in blocks])
    models = np.stack([mean_and_spread(values[:, block].T)[0] for block in blocks], axis=1)
    mean, spread = mean_and_spread(models)
    names = [_name([study.class_names[label] for label in block]) for block in blocks]
    together = f" Each line is the mean of about {len(study.order) / len(blocks):.1f} neighbouring classes."
    caption = f"{what[0].upper()}{what[1:]} of the classes in %, from most to fewest training images, "
    caption += "mean ± sample standard deviation over "
    caption += f"{len(models)} run{'s' * (len(models) > 1)}.{together * (len(blocks) < len(study.order))}"
    rows = [
        [name, f"{count:,.0f}", number(100 * middle) + (f" ± {100 * around:.1f}" if np.isfinite(around) else "")]
        for name, count, middle, around in zip(names, counts, mean, spread, strict=True)
    ]
    shown = _picture(study, counts, mean, spread)
    return f"<p>{caption}</p>" + figure(shown, table("", ["class", "training images", what], rows, "numbers"))


def _name(names: list[str]) -> str:
    return text(names[0] if len(names) == 1 else f"{names[0]} – {names[-1]}")


def _picture(study: Study, counts: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> str:
    """Counts above, on a logarithmic axis, and accuracies below."""
    size, classes = len(counts), len(study.order)
    place, logs = np.arange(size) + 0.5, np.log10(np.maximum(counts, 1))
    above = Panel(Axis(0, size, ""), Axis(0, max(1.0, float(logs.max())), "images", _power), height=COUNTS)
    heads = "classes from head to tail", f"{study.score[0]} in %"
    below = Panel(Axis(0, size, heads[0]), Axis(0, 100, heads[1]), height=PICTURE, top=COUNTS)
    bars = above.bars(np.arange(size + 1), logs, "count")
    borders = [(name, start * size / classes, end * size / classes) for name, (start, end) in study.borders.items()]
    lines = "".join(panel.upright(start) for _, start, _ in borders if start for panel in (above, below))
    named = "".join(above.words((start + end) / 2, 0, name) for name, start, end in borders)
    low, high = (np.clip(100 * (mean + sign * spread), 0, 100) for sign in (-1, 1))
    band = below.band(place, low, high, "band")
    accuracies = below.line(place, 100 * mean, "one")
    return picture(
        f"Images and {study.score[0]} of the classes",
        [above, below],
        [bars, above.axes(False), below.axes(False), band, accuracies, lines, named],
    )


def _power(log: float) -> str:
    return f"{10**log:,.0f}"

"""Training curves of a row: what each stage's epochs measured."""

from __future__ import annotations

import numpy as np

from lt_bench.figures.kinds.training_curves import QUANTITIES, Curve, TrainingCurves, collect
from lt_bench.figures.studies import Study, mean_and_spread
from lt_bench.record.curves import SCORE
from lt_bench.report.page.markup import figure, table, text
from lt_bench.report.page.svg import Panel, picture, spanning

RUNS, LINES = 8, 6  # runs in a picture, lines of a table
DRAWN = ("loss", SCORE)  # the other quantities stand in the table alone


def training(study: Study, points: int) -> str:
    """Pictures of the loss and the score of each stage, and a table of some epochs; NotPossible without curves.

    A curve has so many ``points`` at most.
    """
    (drawing,) = collect(study)
    made: TrainingCurves = drawing.data
    return "".join(_stage(name, curves, made.scored_on, points) for name, curves in made.stages.items())


def _stage(stage: str, curves: list[Curve], scored_on: str, points: int) -> str:
    curves = [_sorted(curve) for curve in curves]
    known = [name for name in QUANTITIES if any(np.isfinite(curve.values[name]).any() for curve in curves)]
    heads = {name: f"{scored_on} {QUANTITIES[name]}" if name == SCORE else QUANTITIES[name] for name in known}
    chosen = [curve.chosen for curve in curves if curve.chosen is not None]
    several = f": {len(curves)} runs (thin) and their mean" if len(curves) > 1 else ""
    said = f"; point: the chosen epoch, {', '.join(map(str, sorted(set(chosen))))}" if chosen else ""
    first = f"; the first {RUNS} runs are drawn" if len(curves) > RUNS else ""
    pictures = "".join(_quantity(name, heads[name], curves, points) for name in known if name in DRAWN)
    caption = text(f"{stage}{several}{first}{said}")
    return f"<p>{caption}.</p>" + figure(f'<div class="panels">{pictures}</div>', _numbers(stage, curves, heads))


def _sorted(curve: Curve) -> Curve:
    """The curve with its epochs in their order, of equal ones the last, as floats."""
    epochs = np.array([float(epoch) for epoch in curve.epochs])
    places = sorted({epoch: place for place, epoch in enumerate(epochs)}.values(), key=epochs.__getitem__)
    return Curve(epochs[places], {name: values[places] for name, values in curve.values.items()}, curve.chosen)


def _mean(name: str, curves: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Epochs that all runs have, and the mean of a quantity in them; those of one run as they are."""
    common = curves[0].epochs
    for curve in curves[1:]:
        common = np.intersect1d(common, curve.epochs)
    values = [curve.values[name][np.isin(curve.epochs, common)] for curve in curves]
    return common, mean_and_spread(np.stack(values))[0] if len(common) else np.zeros(0)


def _some(count: int, most: int) -> np.ndarray:
    """At most so many places of a list, evenly, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)) if count else np.zeros(0, int)


def _quantity(name: str, head: str, curves: list[Curve], points: int) -> str:
    """A small picture: runs thin, their mean thick, the chosen epochs as points."""
    factor = 100.0 if name == SCORE else 1.0
    epochs, mean = _mean(name, curves)
    y = spanning([factor * curve.values[name] for curve in curves], text(head), from_zero=name != SCORE)
    panel = Panel(spanning([curve.epochs for curve in curves], "epoch"), y, width=260, height=150)
    parts = [panel.axes()]
    for curve in curves[:RUNS] if len(curves) > 1 else []:
        some = _some(len(curve.epochs), points)
        parts.append(panel.line(curve.epochs[some], factor * curve.values[name][some], "thin"))
    some = _some(len(epochs), points)
    parts.append(panel.line(epochs[some], factor * mean[some], "one"))
    for curve in curves[:RUNS] if name == SCORE else []:
        (at,) = np.nonzero(curve.epochs == curve.chosen)
        parts += [panel.mark(curve.epochs[place], factor * curve.values[name][place]) for place in at
                  if np.isfinite(curve.values[name][place])]  # fmt: skip
    return picture(text(f"{head} over epochs"), [panel], parts)


def _numbers(stage: str, curves: list[Curve], heads: dict[str, str]) -> str:
    """The means in some epochs; the last of them is the last one."""
    means = {name: _mean(name, curves) for name in heads}
    epochs = next(iter(means.values()))[0]
    rows = [
        [f"{epochs[place]:g}", *(_cell(name, mean[place]) for name, (_, mean) in means.items())]
        for place in _some(len(epochs), LINES)
    ]
    return table(text(f"{stage}, mean over runs"), ["epoch", *map(text, heads.values())], rows, "numbers")


def _cell(name: str, value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if name == SCORE else f"{value:.4g}"

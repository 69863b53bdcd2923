"""Loss, score, chosen epoch, learning rate and speed of every setting's stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lt_bench.config.stages import StageName
from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import NotPossible, Run, Study, mean_and_spread
from lt_bench.figures.style import COLOURS, GREY, heading, legend_below, percent
from lt_bench.record.curves import CURVES, SCORE, read_curves
from lt_bench.record.record import CHOSEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = float(np.finfo(np.float32).max)  # of what a run measures
QUANTITIES = {"loss": "loss", SCORE: "score in %", "lr": "learning rate", "images_per_second": "images per second"}


@dataclass(frozen=True)
class Curve:
    """One run's stage: epochs from 1 (E,), each quantity (E,) with NaN where it is not known, the chosen epoch."""

    epochs: np.ndarray
    values: dict[str, np.ndarray]
    chosen: int | None


@dataclass(frozen=True)
class TrainingCurves:
    """The curves of a setting's runs, stage by stage; ``scored_on`` is the split whose score chose the epoch."""

    about: str
    label: str
    stages: dict[str, list[Curve]]
    scored_on: str


def collect(study: Study) -> Iterator[Drawing]:
    """One figure for each row; NotPossible where no run has curves of a known quantity beside it."""
    found = False
    for row in study.rows:
        stages: dict[str, list[Curve]] = {}
        for models in row.models:  # draws of a probe's shots stand on one stage one
            for name, curve in _curves(models[0]):
                stages.setdefault(name, []).append(curve)
        if stages:
            found = True
            on = "test" if row.runs[0].record.selection == "best_test" else "validation"
            names: list[str] = [stage.value for stage in StageName if stage.value in stages]
            ordered = {name: stages[name] for name in names}
            yield Drawing(row.label, TrainingCurves(study.title, row.label, ordered, on))
    if not found:
        raise NotPossible(f"no run has {CURVES} beside its record: name the folders of the runs")


def _curves(run: Run) -> Iterator[tuple[str, Curve]]:
    """The stages of a run: stage two in its own folder, stage one in the folder beside it that the record names."""
    if run.folder is None:
        return
    below = run.record.stage_one_id
    folders = [*([run.folder.absolute().parent / below] if below and below == Path(below).name else []), run.folder]
    for folder in folders:
        try:
            rows = read_curves(folder / CURVES)
        except OSError as error:
            raise NotPossible(f"{folder / CURVES}: {error.strerror}") from error
        for stage in StageName:
            curve = _curve([row for row in rows if row["stage"] == stage.value], run, stage)
            if any(np.isfinite(values).any() for values in curve.values.values()):
                yield stage.value, curve


def _curve(rows: list[dict[str, Any]], run: Run, stage: StageName) -> Curve:
    values = {name: np.array([_number(row.get(name)) for row in rows]) for name in QUANTITIES}
    epoch = run.record.epochs.get(CHOSEN, {}).get(stage.training, {}).get("epoch")
    return Curve(np.array([row["epoch"] + 1 for row in rows]), values, None if epoch is None else epoch + 1)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and abs(value) <= LARGEST else np.nan


def draw(figure: Figure, data: TrainingCurves) -> None:
    """A column for each stage and a row for each quantity that is known."""
    curves = [curve for stage in data.stages.values() for curve in stage]
    shown = [name for name in QUANTITIES if any(np.isfinite(curve.values[name]).any() for curve in curves)]
    figure.set_size_inches(figure.get_figwidth(), 1.5 * len(shown) + 1.2)
    panels = figure.subplots(len(shown), len(data.stages), sharex="col", squeeze=False)
    for column, (stage, own) in enumerate(data.stages.items()):
        panels[0, column].set_title(stage)
        panels[-1, column].set_xlabel("epoch")
        for axes, name in zip(panels[:, column], shown, strict=True):
            _panel(axes, name, own)
    for axes, name in zip(panels[:, 0], shown, strict=True):
        axes.set_ylabel(f"{data.scored_on}\n{QUANTITIES[name]}" if name == SCORE else QUANTITIES[name])
    legend_below(figure, panels[shown.index(SCORE) if SCORE in shown else 0, -1])
    figure.align_ylabels(panels[:, 0])
    heading(figure, f"Training of {data.label}", data.about)


def _panel(axes: Axes, name: str, curves: list[Curve]) -> None:
    """Every run thin, their mean thick where there are several, the chosen epochs as stars."""
    known = [curve for curve in curves if np.isfinite(curve.values[name]).any()]
    if not known:
        axes.text(0.5, 0.5, "not chosen by a score" if name == SCORE else "not recorded", transform=axes.transAxes,
                  ha="center", va="center", color=GREY, fontsize=8)  # fmt: skip
        axes.set_yticks([])
        return
    several = len(known) > 1
    dot = "o" if max(len(curve.epochs) for curve in known) == 1 else ""
    for number, curve in enumerate(known):
        axes.plot(curve.epochs, curve.values[name], color=GREY if several else COLOURS[0], marker=dot,
                  linewidth=0.7 if several else 1.4, label="one run" if number == 0 else None)  # fmt: skip
    if several and all(np.array_equal(curve.epochs, known[0].epochs) for curve in known):
        mean, _ = mean_and_spread(np.stack([curve.values[name] for curve in known]))
        axes.plot(known[0].epochs, mean, color=COLOURS[0], linewidth=1.8, label=f"mean of {len(known)} runs")
    if name == SCORE:
        percent(axes.yaxis)
        chosen = [(curve.chosen, curve) for curve in known if curve.chosen is not None]
        points = [(epoch, curve.values[name][curve.epochs == epoch]) for epoch, curve in chosen]
        marks = [(epoch, float(value[0])) for epoch, value in points if len(value)]
        if marks:
            axes.plot(*zip(*marks, strict=True), linestyle="", marker="*", markersize=11, color=COLOURS[1],
                      markeredgecolor="black", markeredgewidth=0.6, label="chosen epoch")  # fmt: skip
    if name == "loss":
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    if name == "images_per_second":
        axes.set_ylim(bottom=0)

"""Map of every setting's saved features: principal components and t-SNE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.evaluation.features import FEATURES, Features, load_features, without_features
from lt_bench.figures.kind import Drawing
from lt_bench.figures.studies import NotPossible, Row, Study
from lt_bench.figures.style import heading, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 2000  # t-SNE of so many takes seconds
MOST_CLASSES = 10  # with a colour each; more are shown by group
PERPLEXITY, SEED = 30.0, 0


@dataclass(frozen=True)
class Embedding:
    """Points of some images, (P, 2) each, and for each the number of its name in ``names``; -1 where it has none.

    ``drawn`` of ``images`` are shown.
    """

    about: str
    label: str
    components: np.ndarray
    explained: float
    neighbours: np.ndarray
    which: np.ndarray
    names: list[str]
    images: int


def collect(study: Study) -> Iterator[Drawing]:
    """One figure for each row with features, of its first run; NotPossible, with what to set, where there are none."""
    study.require_images()
    found = False
    lacking = ""
    for row in study.rows:
        features, lacking = _features(row, lacking)
        if features is not None:
            found = True
            yield Drawing(row.label, _embedding(study, row, features))
    if not found:
        raise NotPossible(lacking)


def _features(row: Row, lacking: str) -> tuple[Features | None, str]:
    """The features of the row's first run that has any, and what to say where none has."""
    for run in row.runs:
        if run.folder is None:
            lacking = lacking or f"run {run.record.run_id} is a record alone: name the folder of the run"
        elif (run.folder / FEATURES).exists():
            try:
                return load_features(run.folder / FEATURES), lacking
            except (OSError, ValueError) as error:
                raise NotPossible(str(error)) from error
        else:
            lacking = lacking or without_features(run.folder)
    return None, lacking


def _embedding(study: Study, row: Row, found: Features) -> Embedding:
    from sklearn.decomposition import PCA

    order = study.order
    if found.labels.min() < 0 or found.labels.max() >= len(order):
        raise NotPossible(f"the features of {row.label} are of other classes than its record")
    chosen = _sample(found.labels)
    features, labels = found.features[chosen], found.labels[chosen]
    width = min(50, *features.shape)  # t-SNE on 50 components, as is usual
    reduction = PCA(width, svd_solver="full")
    reduced = reduction.fit_transform(features.astype(np.float64))
    components = np.pad(reduced, ((0, 0), (0, max(0, 2 - width))))[:, :2]
    explained = float(np.nan_to_num(reduction.explained_variance_ratio_[:2].sum()))
    if len(order) <= MOST_CLASSES:
        place = np.argsort(order)  # names from head to tail
        which, names = place[labels], [f"{study.class_names[label]}" for label in order]
    else:
        groups = study.borders
        which, names, ranks = np.full(len(labels), -1), list(groups), np.argsort(order)[labels]
        for number, (start, end) in enumerate(groups.values()):
            which[(ranks >= start) & (ranks < end)] = number
    return Embedding(
        study.title, row.label, components, explained, _neighbours(reduced), which, names, len(found.labels)
    )


def _sample(labels: np.ndarray) -> np.ndarray:
    """Positions of at most so many images as can be seen, the same for the same labels, in order."""
    if len(labels) <= MOST_POINTS:
        return np.arange(len(labels))
    return np.sort(np.random.RandomState(SEED).permutation(len(labels))[:MOST_POINTS])


def _neighbours(reduced: np.ndarray) -> np.ndarray:
    """t-SNE of (P, K), (P, 2); of fewer than four images there is none, and their components stand for it.

    Source: van der Maaten and Hinton, JMLR 2008; scikit-learn's, from the first two components; of points in units of
    their spread, as it crashes where that is far from one.
    """
    from sklearn.manifold import TSNE

    if len(reduced) < 4 or reduced.shape[1] < 2 or not reduced.std():
        return np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))[:, :2]
    perplexity = min(PERPLEXITY, (len(reduced) - 1) / 3)
    points: np.ndarray = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(
        reduced / reduced.std()
    )
    return points


def draw(figure: Figure, data: Embedding) -> None:
    """Two maps of the same images, side by side."""
    figure.set_size_inches(figure.get_figwidth(), 4.3)
    left, right = figure.subplots(1, 2)
    size = 22 if len(data.which) < 600 else 9
    for number, (name, look) in enumerate(zip(data.names, looks(len(data.names)), strict=True)):
        mine = data.which == number
        for axes, points in ((left, data.components), (right, data.neighbours)):
            axes.scatter(*points[mine].T, s=size, color=look.colour, marker=look.marker, linewidth=0.4,
                         edgecolor="white", alpha=0.85, label=name)  # fmt: skip
    left.set_title(f"principal components ({100 * data.explained:.0f} % of the variance)")
    right.set_title("t-SNE")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        axes.spines[["top", "right"]].set_visible(True)
    handles, labels = left.get_legend_handles_labels()
    if handles:
        columns = 10 if max(map(len, labels)) <= 4 else 5
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)))
    part = (
        f"{len(data.which):,} of {data.images:,} images" if len(data.which) < data.images else f"{data.images:,} images"
    )
    heading(figure, f"Features of {data.label}, one run, {part}", data.about)

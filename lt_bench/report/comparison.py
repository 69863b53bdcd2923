"""Two settings compared over pairs of runs with equal seeds: tables, and a sentence on what the data allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import FRACTION, HEADLINES, METRICS, headline
from lt_bench.evaluation.paired import image_interval, mcnemar
from lt_bench.evaluation.paired_scenes import same_scenes, scene_intervals
from lt_bench.evaluation.shots import GROUPS, shot_groups
from lt_bench.record.conditions import epochs_of
from lt_bench.report.leaders import GROUPED
from lt_bench.report.paired import between, paired
from lt_bench.report.sides import Side
from lt_bench.report.statistics import bootstrap, independent, interval
from lt_bench.report.tables import BEST_TEST, SMOKE, Table, contributions, marked, number, shown_unit

ACCURACIES = HEADLINES["classification"]  # what single images decide
COMPARED = {name for names in HEADLINES.values() for name in names}
NOTHING = float("nan"), float("nan")
METHOD = (
    "Difference: A less B, mean over pairs of runs with equal seed and split seed. Intervals are of 95 %: Student's t "
    "and the bootstrap over pairs; over images, the bootstrap of {drawn}, for these very runs. "
    "They are of one group each, and not widened because several are looked at."
)
DRAWN = "the test images of each class"
DRAWN_OF_SCENES = "all test images together"  # of which one has several classes
PAIRS_OF_PIXELS = "Pairs of runs: points of mean IoU that A is above B."
PAIRS = (
    "Pairs of runs: points of accuracy that A is above B, test images that A alone and B alone has right, and the "
    "exact p-value of McNemar's test for them."
)


class Images(NamedTuple):
    """What a pair of runs says of each test image: A right less B right, (M,) float64, labels (M,), and its groups.

    ``groups`` are the classes of each group, None where the two have no groups in common.
    """

    difference: np.ndarray
    labels: np.ndarray
    groups: dict[str, np.ndarray] | None


def compare(one: Side, other: Side, more: Sequence[str] = ()) -> tuple[list[Table], list[str]]:
    """The tables of A and B, and a sentence for each group; UsageError where no two runs have equal seeds."""
    main = headline(one.first().record.metrics)
    names = list(dict.fromkeys([*main, *more]))
    points = paired(one.row, other.row, names)
    if points.empty:
        raise UsageError(_no_pair(one, other))
    units = independent(points)
    images = {seeds: _images(one, other, seeds) for seeds in points.index}
    cells, values, sentences = [], [], []
    if main == ACCURACIES:
        across = {name: _over_images(list(images.values()), name) for name in main}
    else:
        across = _over_scenes(one, other, points.index)
    for name in names:
        ends = across.get(name, NOTHING)
        found = _Found(name, interval(units[name]), bootstrap(units[name]), ends, len(points), len(units))
        sides = [float(_mean(side, name, points.index)) for side in (one, other)]
        cells.append(_cells(found, sides))
        values.append(_values(found, sides))
        sentences.append(_sentence(found, one, other, main))
    table = Table("compare", _caption(one, other, points), pd.DataFrame(cells), pd.DataFrame(values))
    return [table, _pairs(one, other, points[main[-1]], images)], sentences


class _Found(NamedTuple):
    """The statistics of a metric: of Student's t, of both bootstraps; numbers of pairs and of independent ones."""

    name: str
    student: dict[str, float]
    pairs: tuple[float, float]
    images: tuple[float, float]
    total: int
    units: int


def _no_pair(one: Side, other: Side) -> str:
    ours, theirs = (", ".join(f"{split}/{seed}" for split, seed in _seeds(side)) for side in (one, other))
    split, seed = _seeds(other)[0]
    return (
        f"no two runs have equal seeds, and others cannot be paired: A has split seed/seed {ours}, B has {theirs}; "
        f"train A with split_seed={split} seed={seed} as well"
    )


def _seeds(side: Side) -> list[tuple[int, int]]:
    return sorted(zip(side.row.runs["split_seed"], side.row.runs["seed"], strict=True))


def _run_ids(side: Side, seeds: tuple[int, int]) -> str:
    runs = side.row.runs
    return str(runs[(runs["split_seed"] == seeds[0]) & (runs["seed"] == seeds[1])]["run_ids"].iloc[0])


def _images(one: Side, other: Side, seeds: tuple[int, int]) -> Images | None:
    """A pair image by image; None where one has no predictions, UsageError where they are of other images."""
    ours, theirs = (side.correct(_run_ids(side, seeds)) for side in (one, other))
    if ours is None or theirs is None:
        return None
    (right, first), (theirs_right, second) = ours, theirs
    if not np.array_equal(first.labels, second.labels):
        raise _other_images(seeds)
    alike = first.group_rule == second.group_rule and np.array_equal(first.train_counts, second.train_counts)
    groups = shot_groups(first.train_counts, first.group_rule) if alike else None
    return Images(right - theirs_right, first.labels, groups)


def _other_images(seeds: tuple[int, int]) -> UsageError:
    where = f"split seed {seeds[0]}, seed {seeds[1]}"
    return UsageError(f"the two runs of {where} have predictions on other test images: they are no pair")


def _over_scenes(one: Side, other: Side, pairs: pd.Index) -> dict[str, tuple[float, float]]:
    """95 % intervals in percentage points over the test scenes of all pairs, by metric; none where one has none."""
    found = []
    for seeds in pairs:
        ours, theirs = (side.counted(_run_ids(side, seeds)) for side in (one, other))
        if ours is None or theirs is None:
            return {}
        if not same_scenes(ours, theirs):
            raise _other_images(seeds)
        found.append((ours, theirs))
    return {name: (100 * low, 100 * high) for name, (low, high) in scene_intervals(found).items()}


def _over_images(pairs: Sequence[Images | None], name: str) -> tuple[float, float]:
    """95 % interval in percentage points over the test images of all pairs; NaN where one has none, or no such group.

    Pairs with equal labels are taken to share their test images, which are then drawn together.
    """
    kinds: list[tuple[np.ndarray, np.ndarray]] = []
    for pair in pairs:
        weights = None if pair is None else _weights(pair, name)
        if pair is None or weights is None:
            return NOTHING
        made = 100 / len(pairs) * weights * pair.difference
        same = next((place for place, (_, labels) in enumerate(kinds) if np.array_equal(labels, pair.labels)), None)
        if same is None:
            kinds.append((made, pair.labels))
        else:
            kinds[same] = kinds[same][0] + made, pair.labels
    classes = 1 + max(int(labels.max()) for _, labels in kinds)
    strata = [place * classes + labels for place, (_, labels) in enumerate(kinds)]
    return image_interval(np.concatenate([made for made, _ in kinds]), np.concatenate(strata))


def _weights(pair: Images, name: str) -> np.ndarray | None:
    """What each image counts in an accuracy, (M,) float64 of sum 1; None for a group that is not there."""
    if name not in GROUPS:
        return np.full(len(pair.labels), 1 / len(pair.labels))
    totals = np.bincount(pair.labels)
    inside = np.zeros(len(totals), dtype=bool)
    if pair.groups is not None:
        members = pair.groups[name]
        inside[members[members < len(totals)]] = True
    tested = int((inside & (totals > 0)).sum())
    return inside[pair.labels] / np.maximum(totals, 1)[pair.labels] / tested if tested else None


def _mean(side: Side, name: str, pairs: pd.Index) -> float:
    own = side.row.runs.set_index(["split_seed", "seed"])[name].reindex(pairs)
    return float(own.mean(skipna=False)) * shown_unit(name)[0]


def _cells(found: _Found, sides: Sequence[float]) -> dict[str, str]:
    form = shown_unit(found.name)[1]
    known = not pd.isna(found.student["difference"])
    return {
        "metric": METRICS[found.name].column,
        **{side: number(value, form) for side, value in zip("AB", sides, strict=True)},
        "A − B": number(found.student["difference"], f"+{form}"),
        "t": between((found.student["low"], found.student["high"]), form),
        "bootstrap": between(found.pairs if known else NOTHING, form),
        "over images": between(found.images if known else NOTHING, form),
    }


def _values(found: _Found, sides: Sequence[float]) -> dict[str, Any]:
    ends = zip(("bootstrap", "images"), (found.pairs, found.images), strict=True)
    return {
        "metric": found.name,
        "a": sides[0],
        "b": sides[1],
        **found.student,
        **{f"{kind}_{end}": value for kind, pair in ends for end, value in zip(("low", "high"), pair, strict=True)},
        "pairs": found.total,
        "n": found.units,
    }


def _caption(one: Side, other: Side, points: pd.DataFrame) -> list[str]:
    named = [f"{name}: {marked(side.row)} ({side.text})" for name, side in zip("AB", (one, other), strict=True)]
    alone = [
        f"{name} has no partner for {_some(sorted(set(_seeds(side)) - set(points.index)))}"
        for name, side in zip("AB", (one, other), strict=True)
        if set(_seeds(side)) - set(points.index)
    ]
    records = [side.first().record for side in (one, other)]
    notes = [f"{'; '.join(alone)}."] * bool(alone)
    notes += _differences(*(vars(record) | {"epochs": epochs_of(record.settings)} for record in records))
    notes += [BEST_TEST] * any(record.selection == "best_test" for record in records)
    notes += contributions([one.row, other.row])
    notes += [SMOKE] * any(record.budget == "smoke" for record in records)
    drawn = DRAWN if headline(records[0].metrics) == ACCURACIES else DRAWN_OF_SCENES
    return [f"{'; '.join(named)}.", METHOD.format(drawn=drawn), *notes]


def _some(seeds: Sequence[tuple[int, int]]) -> str:
    shown = ", ".join(f"seed {seed} of split {split}" for split, seed in seeds[:4])
    return f"{shown} and {len(seeds) - 4} more" if len(seeds) > 4 else shown


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """A line on what a reader would take for equal."""
    keys = [
        key for key in ("backbone", "budget", "epochs", "fidelity", "selection", "group_rule") if one[key] != other[key]
    ]
    told = [f"{key.replace('_', ' ')} ({one[key]} and {other[key]})" for key in keys]
    return [f"A and B differ in {', '.join(told)} as well."] if told else []


def _pairs(one: Side, other: Side, points: pd.Series, images: dict[tuple[int, int], Images | None]) -> Table:
    """A line for each pair of runs, with what its test images say; ``points`` are of the metric of all classes."""
    cells, values, name = [], [], str(points.name)
    for (split, seed), gap in zip(images, points, strict=True):
        found = images[split, seed]
        ids = [_run_ids(side, (split, seed)) for side in (one, other)]
        # draws of the shots are shares of an image, which are no counts
        plain = found is not None and np.isin(found.difference, (-1, 0, 1)).all()
        alone = [int((found.difference == sign).sum()) for sign in (1, -1)] if found is not None and plain else None
        p = mcnemar(*alone) if alone else float("nan")
        texts = [f"{count:,}" for count in alone] if alone else ["–", "–"]
        words = dict(zip(("A alone", "B alone"), texts, strict=True))
        cells.append(
            {
                "split / seed": f"{split} / {seed}",
                METRICS[name].column: number(gap, "+.1f"),
                **words,
                "p": number(p, ".3f"),
            }
        )
        counts = dict(zip(("only_a", "only_b"), alone or (None, None), strict=True))
        values.append(
            {"split_seed": split, "seed": seed, "a": ids[0], "b": ids[1], "difference": gap, **counts, "mcnemar_p": p}
        )
    about = PAIRS if name in ACCURACIES else PAIRS_OF_PIXELS
    return Table("compare_pairs", [about], pd.DataFrame(cells), pd.DataFrame(values))


def _sentence(found: _Found, one: Side, other: Side, main: Sequence[str]) -> str:
    """What the data allow to say of one metric; ``main`` are those of the task."""
    names = [side.label for side in (one, other)]
    ours, theirs = names if names[0] != names[1] else ("A", "B")
    metric, difference = METRICS[found.name], found.student["difference"]
    what = f"{found.name}-shot {'accuracy' if main == ACCURACIES else 'IoU'}" if found.name in GROUPS else metric.column
    what = "accuracy" if found.name == "top1" else what
    if pd.isna(difference):
        ruled = one.row.fields["group_rule"] != other.row.fields["group_rule"] and found.name in GROUPED
        why = "the two group their classes by different rules" if ruled else "a run does not have it"
        return f"{what[:1].upper()}{what[1:]} is not compared: {why}."
    unit = "points" if metric.unit == FRACTION else metric.unit
    amount = f"{_size(difference, shown_unit(found.name)[1])} {unit} of {what}"
    said = f"{ours} is {'above' if difference > 0 else 'below'} {theirs} by {amount}"
    said = said if difference else f"{ours} and {theirs} are equal in {what}"
    return f"{said}; {'; '.join([_of_pairs(found), *_of_images(found)])}."


def _size(difference: float, form: str) -> str:
    """How large a difference is; in words where it rounds to nothing."""
    told = f"{abs(difference):{form}}"
    return told if float(told) else f"less than {told[:-1]}05"


def _of_pairs(found: _Found) -> str:
    splits = found.units < found.total
    many = f"{found.units} {'splits' if splits else 'paired seeds'}"
    if found.units < 2:
        return "one pair of runs says nothing of other seeds"
    low, high = found.student["low"], found.student["high"]
    if low == high == 0:
        return f"{many} show no difference"
    told = "cannot tell it from 0" if low <= 0 <= high else "tell it from 0"
    return f"{many} {told} (t: {between((low, high), shown_unit(found.name)[1])})"


def _of_images(found: _Found) -> list[str]:
    low, high = found.images
    if pd.isna(low) or low == high == 0:
        return []
    told = "could also be that of other test images" if low <= 0 <= high else "is not chance in the test images"
    return [f"for these runs it {told} ({between((low, high), shown_unit(found.name)[1])})"]

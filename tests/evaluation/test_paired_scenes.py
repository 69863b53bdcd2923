"""Intervals of differences in mean IoU over test scenes, against scenes that are drawn one by one."""

from dataclasses import replace

import numpy as np
import pytest

from lt_bench.evaluation import paired_scenes
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.paired import span
from lt_bench.evaluation.paired_scenes import same_scenes, scene_intervals
from lt_bench.evaluation.predictions import Predictions

SCENES, CLASSES = 12, 6
LABELS = np.random.RandomState(0).randint(CLASSES, size=(SCENES, 40)).clip(max=np.arange(SCENES)[:, None])


def predicted(seed, right=0.5):
    """What a network says that has so many of the pixels right."""
    random = np.random.RandomState(seed)
    guesses = np.where(random.rand(*LABELS.shape) < right, LABELS, random.randint(CLASSES, size=LABELS.shape))
    rows = [(scene, *pair, 1) for scene in range(SCENES) for pair in zip(LABELS[scene], guesses[scene], strict=True)]
    return Predictions(by_image=np.array(rows), train_counts=np.arange(CLASSES, 0, -1) * 9, group_rule="thirds")


def drawn(made, draw):
    """The predictions on scenes that are there so often."""
    chosen = np.repeat(np.arange(SCENES), draw)
    places = [slice(40 * old, 40 * old + 40) for old in chosen]
    rows = [np.column_stack([np.full(40, new), made.by_image[place, 1:]]) for new, place in enumerate(places)]
    return evaluate(replace(made, by_image=np.concatenate(rows), confusion=None))


def test_intervals_are_those_of_scenes_that_are_drawn_one_by_one(monkeypatch):
    monkeypatch.setattr(paired_scenes, "RESAMPLES", 60)
    monkeypatch.setattr(paired_scenes, "AT_ONCE", 20)
    pairs = [(predicted(1), predicted(2, 0.4)), (predicted(3), predicted(4, 0.3))]
    random, gaps = np.random.RandomState(0), []
    for _ in range(3):
        for draw in random.multinomial(SCENES, np.full(SCENES, 1 / SCENES), size=20):
            both = [(drawn(ours, draw), drawn(theirs, draw)) for ours, theirs in pairs]
            gaps.append([np.mean([one[name] - other[name] for one, other in both]) for name in ("miou", "many", "few")])
    found = scene_intervals(pairs)
    for name, values in zip(("miou", "many", "few"), np.array(gaps).T, strict=True):
        assert found[name] == pytest.approx(span(values), abs=1e-8)
        assert found[name][0] < values.mean() < found[name][1]


def test_the_other_sign_gives_the_other_interval_and_a_network_is_no_better_than_itself():
    one, other = predicted(1), predicted(2, 0.4)
    for name, (low, high) in scene_intervals([(one, other)]).items():
        assert scene_intervals([(other, one)])[name] == (-high, -low)
    assert set(scene_intervals([(one, one)]).values()) == {(0.0, 0.0)}


def test_groups_that_are_others_are_not_compared_and_other_scenes_are_no_pair():
    one = predicted(1)
    other = replace(predicted(2), train_counts=np.arange(1, CLASSES + 1) * 9)
    found = scene_intervals([(one, other)])
    assert np.isfinite(found["miou"]).all() and np.isnan(found["few"]).all()
    fewer = replace(one, by_image=one.by_image[1:], confusion=None)
    assert same_scenes(one, other) and not same_scenes(one, fewer)

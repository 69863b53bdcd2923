"""The table of metrics: what it says of every one, and how one is added."""

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.evaluation.metrics import METRICS, evaluate, metric, recorded, scalars
from lt_bench.evaluation.predictions import Predictions

LISTS = ["per_class_accuracy", "test_counts", "train_counts"]
OF_PIXELS = ["miou", "pixel_accuracy", "mean_accuracy", "per_class_iou"]
MADE = predictions(np.eye(6)[[0, 1, 2, 3, 0, 0]], range(6), [9, 8, 7, 6, 5, 4])


def test_every_metric_says_how_it_is_shown() -> None:
    assert [name for name in METRICS if name not in scalars()] == [*LISTS, OF_PIXELS[-1]]
    for name, one in METRICS.items():
        assert one.better in ("higher", "lower") or name in LISTS
        assert one.unit and one.column and one.function.__doc__
    assert len({one.column for one in METRICS.values()}) == len(METRICS)
    shown = {name: (one.unit, one.better) for name, one in METRICS.items() if one.better == "lower"}
    assert shown == {
        "group_std": ("%", "lower"),
        "ece": ("%", "lower"),
        "nll": ("nats", "lower"),
        "balanced_error": ("%", "lower"),
        "adaptive_ece": ("%", "lower"),
        "aurc": ("%", "lower"),
    }


def test_records_have_the_metrics_that_they_always_had_and_others_are_computed_where_they_are_asked_for() -> None:
    small = [*"top1 top5 macro many medium few group_std ece worst_class harmonic_mean nll balanced_error".split()]
    of_images = [*small, *LISTS]
    assert sorted(recorded()) == sorted([*of_images, *OF_PIXELS]) and set(evaluate(MADE)) == {*of_images}
    asked = set(scalars()) - set(recorded())
    assert set(evaluate(MADE, asked)) == asked and {"geometric_mean", "aurc", "forward50", "backward2"} < asked


def test_a_metric_is_one_line_beside_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lt_bench.evaluation.metrics.METRICS", METRICS.copy())

    @metric("best_class", column="best class")
    def best_class(predictions: Predictions) -> float:
        return float(predictions.tested.max())

    assert evaluate(MADE)["best_class"] == 1.0 and scalars()[-1] == "best_class"
    assert evaluate(MADE, ["best_class"]) == {"best_class": 1.0}
    for name, column in (("best_class", "other"), ("other", "worst class")):
        with pytest.raises(ValueError, match=f"metric {name!r} or a column {column!r} already"):
            metric(name, column=column)(best_class)


def test_what_a_metric_needs_and_which_task_it_is_for_decide_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lt_bench.evaluation.metrics.METRICS", {})

    @metric("experts", needs=("logits", "expert"))
    def experts(predictions: Predictions) -> float:
        return float((predictions.logits - predictions.logits_by_name["expert"]).max())

    @metric("pixels", task="segmentation")
    def pixels(predictions: Predictions) -> int:
        return int(predictions.totals.sum())

    assert evaluate(MADE) == {}
    both = {"logits": MADE.logits, "expert": MADE.logits - 2}
    two = Predictions(logits_by_name=both, labels=MADE.labels, train_counts=MADE.train_counts, group_rule="thirds")
    assert evaluate(two) == {"experts": 2.0}
    counted = {"train_counts": MADE.train_counts, "group_rule": "thirds"}
    assert evaluate(Predictions(confusion=np.eye(6, dtype=int), **counted)) == {}
    rows = np.array([[0, label, label, 1] for label in range(6)])
    assert evaluate(Predictions(by_image=rows, **counted)) == {"pixels": 6}


def test_an_unknown_group_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown group rule 'halves'"):
        evaluate(predictions(np.eye(6), range(6), range(6), "halves"))

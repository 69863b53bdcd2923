"""Every kind of figure: the data that are drawn, what runs must have for it, and extremes that must not break it."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from helpers.samples import sample
from helpers.studies import run, study

from lt_bench.evaluation.features import FEATURES, Features, save_features
from lt_bench.evaluation.metrics import evaluate
from lt_bench.figures.kind import kinds
from lt_bench.figures.kinds import class_accuracy, confusion, embedding, group_bars, reliability, training_curves
from lt_bench.figures.kinds.confused_images import ConfusedImages
from lt_bench.figures.studies import NotPossible, Row, Run, Study
from lt_bench.figures.style import render
from lt_bench.record.curves import CURVES, CurvesFile

WITHOUT_DATA = {"class_accuracy", "critical_difference", "group_bars"}  # what a record alone is enough for


def one(kind, given):
    """The only figure of a kind."""
    (drawing,) = kind.collect(given)
    return drawing.data


def drawn(kind, data):
    """The figure after drawing, without files."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    kind.draw(figure, data)
    return figure


def texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_every_module_is_a_kind_and_says_what_it_shows():
    found = kinds()
    assert WITHOUT_DATA < set(found) and len(found) == 8
    for name, kind in found.items():
        assert kind.about.endswith("."), name
        assert callable(kind.draw) and [callable(kind.collect), callable(kind.collect_all)].count(True) == 1


@pytest.mark.parametrize("name", sorted(set(kinds()) - WITHOUT_DATA))
def test_a_record_alone_is_refused_with_what_to_name(name):
    with pytest.raises(NotPossible, match="name (its folder|the folder)"):
        list(kinds()[name].collect(study(rows=1, seeds=1)))


def test_accuracies_of_classes_are_means_from_head_to_tail():
    given = study(rows=2, seeds=3, classes=10)
    data = one(class_accuracy, given)
    expected = np.mean([each.record.metrics["per_class_accuracy"] for each in given.rows[0].runs], axis=0)
    np.testing.assert_allclose(data.means[0], expected)
    assert data.window == 1 and (np.diff(data.counts) <= 0).all() and np.isfinite(data.spreads[0]).all()
    lines = drawn(class_accuracy, data).axes[1].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), expected)
    assert [line.get_label() for line in lines[:2]] == data.labels


def test_many_classes_are_smoothed_and_that_is_said():
    data = one(class_accuracy, study(rows=1, seeds=1, classes=100, untested=20))
    assert data.window == 7 and np.isnan(data.means[0][-10:]).all() and np.isnan(data.spreads[0]).all()
    assert any("running mean over 7 classes" in text for text in texts(drawn(class_accuracy, data)))
    values = np.array([1.0, 0.0, np.nan, 1.0, 1.0])
    np.testing.assert_allclose(class_accuracy.smooth(values, 3), [0.5, 0.5, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(class_accuracy.smooth(values, 1), values)


def test_more_rows_than_can_be_told_apart_are_left_out_with_a_word():
    data = one(class_accuracy, study(rows=10, seeds=1))
    assert len(data.labels) == 8 and "8 of 10 rows" in data.note


def test_bars_are_means_with_the_deviation_over_runs():
    given = study(rows=2, seeds=3, classes=100)
    data = one(group_bars, given)
    few = [each.record.metrics["few"] for each in given.rows[1].runs]
    assert data.mean[1, 2] == pytest.approx(np.mean(few)) and data.spread[1, 2] == pytest.approx(np.std(few, ddof=1))
    assert data.counts == [3, 3] and "over 3 runs" in data.note
    panel = drawn(group_bars, data).axes[2]
    assert [bar.get_width() for bar in panel.patches][1] == pytest.approx(np.mean(few))


def test_a_group_without_classes_has_no_bar_and_many_rows_several_figures():
    data = one(group_bars, study(rows=1, seeds=1, classes=2))
    assert np.isnan(data.mean[0, 1]) and " no tested class" in texts(drawn(group_bars, data))
    assert [drawing.name for drawing in group_bars.collect(study(rows=41, seeds=1, classes=3))] == ["1", "2"]


def test_confusion_is_row_normalised_and_sorted_from_head_to_tail(tmp_path):
    given = study(rows=1, seeds=2, classes=12, untested=1, folder=tmp_path)
    data = one(confusion, given)
    assert data.shares.shape == (12, 12) and data.runs == 2
    np.testing.assert_allclose(data.shares[:11].sum(axis=1), 1)
    assert np.isnan(data.shares[11]).all()
    mean = np.mean([each.record.metrics["per_class_accuracy"][:11] for each in given.rows[0].runs], axis=0)
    np.testing.assert_allclose(np.diagonal(data.shares)[:11], mean)
    assert any("grey: no test image" in text for text in texts(drawn(confusion, data)))


def test_more_than_200_classes_are_blocks_that_stay_inside_a_group(tmp_path):
    borders = {"many": (0, 40), "medium": (40, 300), "few": (300, 301)}
    edges = confusion.blocks(301, borders)
    assert {0, 40, 300, 301} <= set(edges.tolist()) and 50 <= len(edges) - 1 <= 70 and (np.diff(edges) > 0).all()
    assert confusion.blocks(200, borders).tolist() == list(range(201))
    assert len(confusion.blocks(8142, {})) == 61
    given = study(rows=1, seeds=1, classes=301, per_class=2, folder=tmp_path)
    data = one(confusion, given)
    np.testing.assert_allclose(data.shares.sum(axis=1), 1)
    assert data.names == [] and any("block of about" in text for text in texts(drawn(confusion, data)))


def test_the_reliability_diagram_has_the_calibration_error_of_the_record(tmp_path):
    given = study(rows=1, seeds=2, folder=tmp_path)
    data = one(reliability, given)
    assert data.errors == pytest.approx([each.record.metrics["ece"] for each in given.rows[0].runs])
    assert data.images.sum() == 80 and len(data.images) == 15 and (data.correct <= data.images).all()
    assert any(text.startswith(f"ECE {100 * np.mean(data.errors):.1f} ±") for text in texts(drawn(reliability, data)))


def curves_of(folder, stage, epochs, scores=None):
    file = CurvesFile(folder / CURVES, stage)
    for epoch in range(epochs):
        score = {} if scores is None else {"selection_score": scores[epoch]}
        file.write(epoch, {"loss": 2.0 - epoch / 10, "lr": 0.1, "seconds": 1.0, "images_per_second": 50.0, **score})


def test_curves_of_both_stages_with_the_chosen_epoch(tmp_path):
    chosen = {"chosen": {"stage_two.train": {"epoch": 1, "score": 0.5, "on": "validation"}}}
    given = study(rows=1, seeds=2, folder=tmp_path, epochs=chosen, stage_one_id="0123456789ab")
    (tmp_path / "0123456789ab").mkdir()
    curves_of(tmp_path / "0123456789ab", "stage one", 4)
    for each in given.rows[0].runs:
        curves_of(each.folder, "stage two", 3, [0.2, 0.5, 0.4])
    data = one(training_curves, given)
    assert list(data.stages) == ["stage one", "stage two"] and data.scored_on == "validation"
    first, second = data.stages["stage one"][0], data.stages["stage two"][1]
    assert first.epochs.tolist() == [1, 2, 3, 4] and first.chosen is None and np.isnan(first.values["lr"]).sum() == 0
    assert second.chosen == 2 and second.values["selection_score"].tolist() == [0.2, 0.5, 0.4]
    figure = drawn(training_curves, data)
    stars = [line for axes in figure.axes for line in axes.get_lines() if line.get_marker() == "*"]
    assert [tuple(line.get_xydata()[0]) for line in stars] == [(2, 0.5)]


def test_curves_with_odd_words_in_them_are_drawn(tmp_path):
    given = study(
        rows=1, seeds=1, folder=tmp_path, epochs={"chosen": {"stage_two.train": {}}}, stage_one_id="../elsewhere"
    )
    line = {"stage": "stage two", "epoch": 0, "loss": "x", "lr": 0.1}
    (given.rows[0].runs[0].folder / CURVES).write_text(json.dumps(line) + "\n" + json.dumps(line | {"epoch": 1}) + "\n")
    data = one(training_curves, given)
    assert list(data.stages) == ["stage two"] and np.isnan(data.stages["stage two"][0].values["loss"]).all()
    drawn(training_curves, data)


def test_curves_without_a_quantity_that_can_be_drawn_are_none(tmp_path):
    given = study(rows=1, seeds=1, folder=tmp_path)
    line = {"stage": "stage two", "epoch": 0}
    for values in ({}, {"loss": "x"}, {"loss": float("nan"), "lr": float("inf")}, {"loss": 1e308, "lr": -1e308}):
        (given.rows[0].runs[0].folder / CURVES).write_text(json.dumps(line | values) + "\n")
        with pytest.raises(NotPossible, match="name the folders of the runs"):
            list(training_curves.collect(given))


@pytest.mark.parametrize("scale", [1e-30, 1e37])
def test_features_of_any_size_have_a_map(scale, tmp_path):
    given = study(rows=1, seeds=1, folder=tmp_path, classes=3)
    features = np.random.RandomState(0).randn(8, 4) * scale
    save_features(given.rows[0].runs[0].folder / FEATURES, Features(features, np.arange(8) % 3))
    data = one(embedding, given)
    assert np.isfinite(data.neighbours).all() and data.neighbours.std() > 0
    drawn(embedding, data)


def test_a_map_of_features_is_the_same_each_time(tmp_path):
    given = study(rows=1, seeds=1, folder=tmp_path, classes=3, per_class=10)
    folder = given.rows[0].runs[0].folder
    with pytest.raises(NotPossible, match="evaluation.save_features=true"):
        list(embedding.collect(given))
    labels = np.repeat(np.arange(3), 10)
    features = np.random.RandomState(0).randn(30, 8) + 5 * np.eye(8)[labels]
    save_features(folder / FEATURES, Features(features, labels))
    data, again = one(embedding, given), one(embedding, given)
    np.testing.assert_array_equal(data.neighbours, again.neighbours)
    assert data.components.shape == data.neighbours.shape == (30, 2) and data.names == ["0", "1", "2"]
    centres = np.stack([data.neighbours[data.which == number].mean(axis=0) for number in range(3)])
    spread = max(data.neighbours[data.which == number].std() for number in range(3))
    assert min(np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > spread
    drawn(embedding, data)


def test_many_classes_are_shown_by_group_and_few_images_without_neighbours(tmp_path):
    given = study(rows=1, seeds=1, folder=tmp_path, classes=30)
    folder = given.rows[0].runs[0].folder
    save_features(folder / FEATURES, Features(np.eye(3)[:, :1], np.array([0, 15, 29])))
    data = one(embedding, given)
    assert data.names == ["many", "medium", "few"] and data.which.tolist() == [0, 1, 2]
    drawn(embedding, data)
    save_features(folder / FEATURES, Features(np.eye(3), np.array([0, 1, 99])))
    with pytest.raises(NotPossible, match="other classes"):
        list(embedding.collect(given))


def test_a_sample_of_many_images_is_a_function_of_their_number():
    labels = np.zeros(5000, int)
    assert len(embedding._sample(labels)) == 2000 and len(embedding._sample(labels[:10])) == 10
    np.testing.assert_array_equal(embedding._sample(labels), embedding._sample(labels + 1))


def test_extremes_are_drawn_without_a_warning(tmp_path):
    """Two classes, one seed, no class of a group, a class without test images, hostile names."""
    hostile = "$x_{\x1b[0m鸟" * 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = study(rows=1, seeds=1, classes=2, untested=1, folder=tmp_path)
        given = replace(given, title=hostile, rows=(replace(given.rows[0], label=hostile),))
        curves_of(given.rows[0].runs[0].folder, "stage two", 1)
        for name in ("class_accuracy", "group_bars", "confusion", "reliability", "training_curves"):
            kind = kinds()[name]
            render(kind.draw, one(kind, given), tmp_path / name, ["svg"])
    picture = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    data = ConfusedImages(hostile, hostile, picture, [hostile], [hostile], np.array([1.0]), 1, 9)
    render(kinds()["confused_images"].draw, data, tmp_path / "confused", ["png"])


def test_counts_alone_have_a_confusion_matrix_and_no_reliability(tmp_path, monkeypatch):
    cells = np.array([[3, 1], [0, 2]])
    made = evaluate(run(classes=2).record and _counts(cells))
    record = sample(metrics=made, group_rule="count_100_20")
    given = Study("x", "x", (Row("x", (Run(record, tmp_path),)),))
    monkeypatch.setattr(Run, "predictions", lambda self: _counts(cells))
    np.testing.assert_allclose(one(confusion, given).shares, [[0.75, 0.25], [0, 1]])
    with pytest.raises(NotPossible, match="only confusion counts"):
        list(reliability.collect(given))


def _counts(cells):
    from lt_bench.evaluation.predictions import Predictions

    return Predictions(train_counts=np.array([500, 10]), group_rule="count_100_20", confusion=cells)

"""Studies: which runs stand in one figure, their labels and order, means over seeds, what records lack."""

import json

import numpy as np
import pytest
from helpers.samples import metrics, sample
from helpers.studies import study

from lt_bench.figures.studies import NotPossible, Row, Run, Study, mean_and_spread, read_studies, told
from lt_bench.files import write_json


def written(tmp_path, records):
    for record in records:
        write_json(tmp_path / record.run_id / "record.json", record.to_dict())
    return read_studies([tmp_path])


def test_runs_that_cannot_be_compared_are_in_studies_of_their_own(tmp_path):
    other = {"dataset.pool_per_class": 50}
    studies = written(
        tmp_path,
        [
            sample(),
            sample(setting_id="ce", method_name="CE"),
            sample(setting_id="f", imbalance_factor=100.0),
            sample(setting_id="v", evaluated_on="validation"),
            sample(setting_id="p", stage_two="linear_probe"),
            sample(setting_id="n", imbalance_factor=None, budget="smoke"),
            sample(setting_id="o", settings=other),
            sample(setting_id="one", kind="stage_one", metrics={}),
        ],
    )
    names = [one.name for one in studies]
    assert len(set(names)) == 6 and {"digits_lt_if100", "digits_lt_if20_probe", "digits_lt_native_smoke"} < set(names)
    titles = {one.title for one in studies}
    assert "Digits-LT, imbalance factor 100, test images" in titles
    assert "Digits-LT, native imbalance, budget smoke, test images" in titles
    assert "Digits-LT, imbalance factor 20, test images, dataset.pool_per_class=50" in titles
    assert max(len(one.rows) for one in studies) == 2


def test_rows_stand_in_the_order_of_tables_under_labels_that_tell_them_apart(tmp_path):
    common = {"train.lr": 0.1, "method": "sbcl"}
    (one,) = written(
        tmp_path,
        [
            sample(seed=1),
            sample(seed=0),
            sample(setting_id="b", settings=common | {"method.views": ["simclr", "crop_flip"]}),
            sample(setting_id="c", method="ce", method_name="CE", stage_two="none", stage_two_name="–"),
        ],
    )
    assert [row.label for row in one.rows] == ["CE / –", "SBCL / CB", "SBCL / CB (views simclr+crop_flip, lr 0.1)"]
    assert [run.record.seed for run in one.rows[1].runs] == [0, 1]
    assert [row.label for row in read_studies([tmp_path], ["views"])[0].rows] == [one.rows[2].label]
    assert read_studies([tmp_path], ["nothing"]) == []


def test_a_row_whose_epoch_was_chosen_on_test_images_says_so_in_every_figure(tmp_path):
    flattered = sample(setting_id="ce", method="ce", method_name="CE", selection="best_test")
    (one,) = written(tmp_path, [flattered, sample()])
    assert [row.label for row in one.rows] == ["CE / CB (epoch best_test)", "SBCL / CB"]


def test_unequal_epochs_stand_in_every_label(tmp_path):
    settings = ({"train.epochs": 300, "stage_two.train.epochs": 45}, {"train.epochs": 72})
    long, short = (sample(setting_id=f"s{n}", settings=each) for n, each in enumerate(settings))
    (one,) = written(tmp_path, [long, short])
    assert [row.label for row in one.rows] == ["SBCL / CB (300+45 epochs)", "SBCL / CB (72 epochs)"]
    (equal,) = written(tmp_path / "equal", [long])
    assert [row.label for row in equal.rows] == ["SBCL / CB"]


def test_rows_whose_labels_are_cut_alike_are_told_apart_by_their_setting(tmp_path):
    settings = [{"method.long": "x" * 90 + end} for end in "ab"]
    (one,) = written(tmp_path, [sample(setting_id=f"s{n}", settings=each) for n, each in enumerate(settings)])
    assert len({row.label for row in one.rows}) == 2 and all("[s" in row.label for row in one.rows)


def test_records_of_a_file_have_no_folder(tmp_path):
    (tmp_path / "mine.jsonl").write_text(json.dumps(sample().to_dict()) + "\n")
    (one,) = read_studies([tmp_path / "mine.jsonl"])
    assert one.rows[0].runs[0].folder is None
    with pytest.raises(NotPossible, match="name its folder"):
        one.rows[0].runs[0].predictions()


def test_draws_on_one_model_count_as_one_run_with_their_mean():
    drawn = [{"stage_two.shot_seed": draw} for draw in (0, 1, 0)]
    runs = [
        sample(run_id=f"r{n}", seed=n // 2, metrics=metrics(top1=value), settings=drawn[n])
        for n, value in enumerate((0.2, 0.4, 0.9))
    ]
    row = Row("x", tuple(Run(record, None) for record in runs))
    assert row.per_model("top1") == pytest.approx([0.3, 0.9]) and len(row.models) == 2
    assert told([row]) == "mean ± standard deviation over 2 runs" and told([Row("y", row.runs[:2])]) == "one run each"


def test_runs_of_equal_seeds_are_refused_where_tables_refuse_them(tmp_path):
    with pytest.raises(ValueError, match="setting sbcl_cb has several runs with the same seeds: one, two; leave"):
        written(tmp_path, [sample(run_id="one"), sample(run_id="two")])
    assert read_studies([tmp_path], ["PaCo"]) == []


def test_mean_and_spread_leave_out_what_is_not_known():
    mean, spread = mean_and_spread(np.array([[0.2, np.nan, np.nan], [0.4, 0.5, np.nan]]))
    np.testing.assert_allclose(mean, [0.3, 0.5, np.nan])
    np.testing.assert_allclose(spread, [np.std([0.2, 0.4], ddof=1), np.nan, np.nan])


def test_groups_are_spans_of_the_classes_from_head_to_tail():
    one = study(classes=100)
    spans = one.borders
    assert list(spans) == ["many", "medium", "few"] and spans["many"][0] == 0 and spans["few"][1] == 100
    counts = one.train_counts[one.order]
    assert (counts[slice(*spans["many"])] > 100).all() and (counts[slice(*spans["few"])] < 20).all()
    assert list(study(classes=2).borders) == ["many", "few"]


def test_a_study_whose_records_lack_counts_says_so():
    lacking = sample(metrics={"top1": 0.5})
    with pytest.raises(NotPossible, match="how many training images"):
        Study("x", "x", (Row("x", (Run(lacking, None),)),)).order  # noqa: B018


def test_names_of_classes_come_from_the_split(tmp_path):
    one = study(rows=1, seeds=1, folder=tmp_path, classes=3)
    assert one.class_names == ["0", "1", "2"]
    write_json(tmp_path / "s0-0-0" / "split.json", {"classes": ["a\nb", "$x$", "鸟" * 90]})
    again = study(rows=1, seeds=1, classes=3)
    named = Study("x", "x", (Row("x", (Run(again.rows[0].runs[0].record, tmp_path / "s0-0-0"),)),))
    assert named.class_names[:2] == ["a b", "$x$"] and len(named.class_names[2]) == 48

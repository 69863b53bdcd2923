"""What a run prints when it is done."""

from pathlib import Path

from helpers.samples import metrics, sample

from lt_bench.run.summary import summary


def test_accuracies_in_percent_beside_what_was_run():
    cost = {"seconds": 1.25, "stage_one_seconds": 2.5, "images_per_second": 1000.4, "device": "cpu"}
    text = summary(sample(cost=cost, metrics=metrics(0.456, (0.789, None, 0.123))), Path("runs/x"))
    lines = text.splitlines()
    assert lines[0].startswith(
        "SBCL on digits_lt, imbalance 20, seed 0, split seed 0; stage two CB; 105 training images"
    )
    assert lines[1].split() == ["many", "medium", "few", "all"]
    assert lines[2].split()[:4] == ["78.9", "–", "12.3", "45.6"] and "cut in three" in lines[2]
    assert "stage one 2.5 s at 1000 images/s, stage two 1.2 s" in lines[3] and "epoch chosen: last" in lines[3]
    assert text.endswith("runs/x/record.json")


def test_of_scenes_there_is_no_calibration_of_images_and_no_number_of_them():
    found = {"miou": 0.25, "many": 0.5, "medium": 0.2, "few": 0.0, "train_counts": [5, 2, 1]}
    lines = summary(sample(cost={}, metrics=found), Path("x")).splitlines()
    assert lines[1].split() == ["many", "medium", "few", "mIoU"] and lines[2].split()[3] == "25.0"
    assert "ECE" not in lines[3] and "stage two – s, epoch chosen: last" in lines[3] and "images;" not in lines[0]
    older = {name: value for name, value in metrics().items() if name != "ece"}
    assert "ECE –" in summary(sample(cost={}, metrics=older), Path("x"))


def test_of_unequal_test_classes_it_says_what_all_is_and_whether_one_answer_beats_it():
    def lines(top1, counts):
        found = metrics(top1, (0.5, 0.4, 0.3)) | {"macro": 0.25, "test_counts": counts}
        found |= {name: found[name] + [1] for name in ("per_class_accuracy", "train_counts")}
        return summary(sample(cost={}, metrics=found), Path("x")).splitlines()

    (told,) = (line for line in lines(0.7, [6, 3, 1]) if "macro" in line)
    assert told == "  all is over images, of which classes have 1 to 6; the mean over classes (macro) is 25.0"
    assert not any("largest class" in line for line in lines(0.7, [6, 3, 1]))
    assert "  the largest class as the answer to every image would be right for 60.0 %" in lines(0.6, [6, 3, 1])
    assert not any("macro" in line or "largest class" in line for line in lines(0.1, [5, 5, 5]))


def test_a_smoke_run_says_that_its_numbers_mean_nothing():
    cost = {"seconds": 1, "stage_one_seconds": 1, "images_per_second": 1}
    assert "mean nothing" in summary(sample(cost=cost, budget="smoke", imbalance_factor=None), Path("x"))
    assert "native counts" in summary(sample(cost=cost, imbalance_factor=None), Path("x"))


def test_a_probe_shows_the_deviation_over_groups():
    cost = {"seconds": 1, "stage_one_seconds": 1, "images_per_second": 1}
    probe = {"stage_two": "linear_probe", "stage_two_name": "Linear", "cost": cost}
    lines = summary(sample(**probe, metrics=metrics(groups=(0.9, 0.6, 0.3))), Path("x")).splitlines()
    assert lines[1].split() == ["many", "medium", "few", "all", "std"]
    assert lines[2].split()[:5] == ["90.0", "60.0", "30.0", "50.0", "24.5"]


def test_a_stage_one_has_no_accuracies():
    record = sample(kind="stage_one", stage_one_id=None, metrics={}, cost={"seconds": 1.25})
    assert "stage one done in 1.2 s" in summary(record, Path("x"))


def test_a_record_of_another_version_is_shown_as_far_as_it_goes(tmp_path):
    (tmp_path / "split.json").write_text('{"classes": 3}')
    epochs = {"train": {"epochs": 3}, "not_reached": [1]}
    text = summary(sample(cost={}, group_rule="quarters", epochs=epochs), tmp_path)
    assert "stage one – s at – images/s" in text and "(quarters)" in text and "no test image of class 1" in text

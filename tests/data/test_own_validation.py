"""The validation part that images of one's own have by default, and the best epoch and temperature that follow."""

import numpy as np
import pytest
import torch
from helpers import image_trees
from helpers.chain import tiny

import lt_bench
from lt_bench.config.compose import compose
from lt_bench.data.__main__ import main
from lt_bench.data.load import load_data
from lt_bench.data.splits.cut import cut
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate
from lt_bench.run.execute import execute

COUNTS = (40, 10, 5, 4)
OWN = ("dataset=image_folder", "dataset.image_size=16", "dataset.workers=0", "backbone=tiny", "progress=false")


def words(root, *more):
    return [*OWN, f'dataset.root="{root}"', "dataset.test_fraction=0.2", *more]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    image_trees.write_classes(folder, COUNTS)
    return folder


def settled(*more):
    return validate(compose(["dataset=image_folder", "dataset.root=x", "dataset.num_classes=3", *more]))


@pytest.mark.parametrize(
    ("more", "fraction", "select"),
    [
        ((), 0.1, "best_validation"),
        (("dataset.validation_fraction=0.3",), 0.3, "best_validation"),
        (("dataset.validation_fraction=0",), 0.0, "last"),
        (("dataset.validation_list=val",), 0.0, "best_validation"),
        (("dataset.validation_per_class=3",), 0.0, "best_validation"),
        (("dataset.split_dir=lists", "split_seed=1"), 0.0, "last"),
        (("stage_two=ncm",), 0.1, "last"),  # nothing is trained that could be chosen
        (("stage_two=cb",), 0.1, "best_validation"),
        (("evaluation.select=last",), 0.1, "last"),
    ],
)
def test_what_is_typed_decides_and_else_a_tenth_chooses_the_epoch(more, fraction, select):
    config = settled("method=ce", *more)
    assert (config.dataset.validation_fraction, config.evaluation.select) == (fraction, select)


def test_other_data_sets_have_no_validation_part_by_default():
    config = validate(compose(["dataset=imagenet_lt", "method=ce"]))
    assert (config.dataset.validation_fraction, config.evaluation.select) == (0.0, "last")


def test_the_test_part_is_the_same_and_every_class_keeps_a_training_image(root):
    labels = np.repeat(np.arange(4), COUNTS)
    parts = {
        fraction: cut(
            settled("method=ce", "dataset.test_fraction=0.2", f"dataset.validation_fraction={fraction}"), labels, 4
        )
        for fraction in (0, 0.1, 0.9999999999999999)
    }
    assert len({tuple(split.test) for split in parts.values()}) == 1
    assert all(min(split.class_counts) >= 1 for split in parts.values())
    assert np.bincount(labels[parts[0.1].validation], minlength=4).tolist() == [3, 1, 0, 0]


def test_a_check_and_a_run_say_what_is_set_aside_and_which_classes_give_none(root, tmp_path, capsys):
    said = (
        "cut from the training images (dataset.validation_fraction=0.1, split_seed=0)",
        "validation: no image of class 2 (n0002), class 3 (n0003): a class of fewer than 5 gives none",
    )
    assert main(["check", *words(root)]) == 0
    checked = capsys.readouterr().out
    run = tiny(tmp_path, *words(root, "method=ce", "train.epochs=2"))
    record, folder = execute(run)
    told = capsys.readouterr().err
    assert [line for line in said if line not in checked] == [], checked
    assert [line for line in said if line not in told] == [], told
    assert (record.selection, record.evaluated_on) == ("best_validation", "test")
    assert record.epochs["chosen"]["train"]["on"] == "validation"
    assert lt_bench.load(folder).calibrated_on == len(load_data(run, torch.device("cpu")).validation.labels) == 4


@pytest.mark.parametrize("counts", [(4, 3), (9, 5, 4, 4, 4)])
def test_a_part_of_fewer_images_than_classes_is_not_set_aside(counts, tmp_path, capsys):
    image_trees.write_classes(tmp_path / "data", counts)
    own = words(tmp_path / "data", "method=ce", "train.epochs=2")
    assert main(["check", *own]) == 0
    said = "validation: no part, as dataset.validation_fraction=0.1 would give it fewer images than there are classes"
    assert said in capsys.readouterr().out
    record, folder = execute(tiny(tmp_path, *own))
    assert said in capsys.readouterr().err
    assert (record.selection, record.epochs) == ("last", {}) and lt_bench.load(folder).calibrated_on == 0
    all_of_them = cut(
        settled(*own, "dataset.validation_fraction=0"), np.repeat(np.arange(len(counts)), counts), len(counts)
    )
    assert record.metrics["train_counts"] == all_of_them.class_counts


def test_a_part_that_is_evaluated_on_is_as_small_as_it_is_or_refused(tmp_path):
    chosen = ("method=ce", "evaluation.split=validation")
    for counts, held_out in (((9, 5, 4, 4, 4), 1), ((4, 3), 0)):
        image_trees.write_classes(tmp_path / str(held_out), counts)
        config = validate(compose(words(tmp_path / str(held_out), *chosen)))
        if held_out:
            assert len(load_data(config, torch.device("cpu")).validation.labels) == held_out
        else:
            with pytest.raises(UsageError, match="sets no image aside.* set evaluation.split=test"):
                load_data(config, torch.device("cpu"))

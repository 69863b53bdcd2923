"""Folders of one's own: as many classes as there are, and a test part where nobody has made one."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import image_trees
from helpers.chain import execute, tiny

from lt_bench.config.compose import compose
from lt_bench.data.__main__ import main
from lt_bench.data.content import number_of_classes
from lt_bench.data.load import load_data
from lt_bench.data.source import read_source
from lt_bench.data.splits.split import make_split, test_part
from lt_bench.errors import DataError, UsageError
from lt_bench.files import read_json
from lt_bench.launch.planning.plan import plan
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identities, identity_values, setting_id

test_part.__test__ = False  # its name is that of the part
COUNTS = (6, 4, 2, 1)
# the validation part, which is there by default, has tests of its own
READ = ("dataset=image_folder", "dataset.image_size=16", "dataset.workers=0", "dataset.validation_fraction=0")
OWN = (*READ, "backbone=tiny", "method=ce")


def words(root, *more):
    return [*OWN, "stage_two=none", "recipe=none", f'dataset.root="{root}"', *more]


def config(root, *more):
    return validate(compose(words(root, "progress=false", *more)))


def load(root, *more):
    return load_data(config(root, *more), torch.device("cpu"))


@pytest.fixture
def split_root(tmp_path):
    """train/ and test/ as folders, lists and CSV files."""
    root = tmp_path / "split"
    for part, first in (("train", 0), ("test", 100)):
        rows = [(f"{part}/{name}", label) for name, label in image_trees.write_classes(root / part, COUNTS, first)]
        image_trees.write_list(root / f"{part}.txt", rows)
        (root / f"{part}.csv").write_text("path,label\n" + "".join(f"{name},n{label}\n" for name, label in rows))
    return root


@pytest.fixture
def whole_root(tmp_path):
    """A folder with one folder a class, and lists of it."""
    root = tmp_path / "whole"
    rows = image_trees.write_classes(root, COUNTS)
    (tmp_path / "lists").mkdir()
    image_trees.write_list(tmp_path / "lists" / "all.txt", rows)
    (tmp_path / "lists" / "all.csv").write_text("path,label\n" + "".join(f"{name},n{label}\n" for name, label in rows))
    return root


@pytest.mark.parametrize("form", ["", ".txt", ".csv"])
def test_as_many_classes_as_there_are(form, split_root):
    lists = [f"dataset.{part}_list={part}{form}" for part in ("train", "test")]
    found, given = (config(split_root, *lists, *more) for more in ((), ("dataset.num_classes=4",)))
    assert number_of_classes(found) == 4 and identities(found) == identities(given)
    assert setting_id(found) == setting_id(given) and identity_values(found)["dataset.num_classes"] == 4
    assert load_data(found, torch.device("cpu")).num_classes == 4
    (one,), (other,) = (plan(words(split_root, *lists, *more)) for more in ((), ("dataset.num_classes=4",)))
    assert one.identity == other.identity


def test_classes_are_counted_without_pytorch(split_root):
    code = (
        f"import sys; from lt_bench.launch.planning.plan import plan; plan({words(split_root)!r}); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "classes", "said"),
    [
        ("a 0\nb 1\nc 2\n", 3, None),
        ("a 0\nb 2\nc 2\nd 0\n", 3, "class 1 has no image"),
        ("a 1\nb 2\nc 2\n", 3, "class 0 has no image"),
        ("a 0\nb 1\nc 99999999\n", 3, "label '99999999' is not one of 0 .. 2"),
        ("a 0\nb 0\n", 1, "1 class, and a data set has 2 or more"),
    ],
)
def test_numbers_of_a_list_count_from_0(text, classes, said, tmp_path):
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "test.txt").write_text("x 0\n")
    settled = config(tmp_path, "dataset.train_list=train.txt", "dataset.test_list=test.txt")
    lists = read_source(settled)
    assert lists.num_classes == number_of_classes(settled) == classes
    assert (lists.problems == []) if said is None else said in str(lists.problems[0])


def test_an_empty_list_tells_no_number(tmp_path):
    (tmp_path / "train.txt").write_text("\n")
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="train.txt: no image in this train list"):
        identities(config(tmp_path, "dataset.train_list=train.txt"))


def test_a_data_set_of_another_kind_has_to_say_it():
    with pytest.raises(UsageError, match="dataset.num_classes has no value"):
        identities(validate(compose(["dataset.num_classes=null"])))


def parts(root, *more):
    data = load(root, "dataset.test_fraction=0.3", *more)
    read = data.train.reader.images.names, data.test.reader.images.names, data.validation.reader.images.names
    return data, *([os.fsdecode(name) for name in names.tolist()] for names in read)


def test_a_test_part_is_cut_from_every_class(whole_root):
    data, train, test, validation = parts(whole_root)
    assert torch.bincount(data.test.labels, minlength=4).tolist() == [2, 1, 1, 0]
    assert data.split.class_counts == [4, 3, 1, 1] and validation == []
    assert not set(train) & set(test) and len({*train, *test}) == sum(COUNTS)
    assert data.manifest["test_images"] == 4 and data.manifest["test_fraction"] == 0.3
    assert any("no image of class 3 (n0003): their only one is trained on" in remark for remark in data.remarks)
    again, other = parts(whole_root), parts(whole_root, "split_seed=1")
    assert again[0].manifest == data.manifest and again[1:] == (train, test, validation)
    assert other[2] != test and other[0].manifest["test_sha256"] != data.manifest["test_sha256"]


def test_all_spellings_of_an_unsplit_folder_have_the_same_parts(whole_root):
    expected = parts(whole_root)[1:]
    below = whole_root.parent / "below"
    shutil.copytree(whole_root, below / "train")
    lists = f'dataset.list_dir="{whole_root.parent / "lists"}"'
    for more in (["dataset.train_list=."], *([lists, f"dataset.train_list=all{form}"] for form in (".txt", ".csv"))):
        assert parts(whole_root, *more, "dataset.test_list=null")[1:] == expected
    assert tuple([name.removeprefix("train/") for name in names] for names in parts(below)[1:]) == expected


def test_the_fraction_and_the_seed_are_a_part_of_the_identity(whole_root):
    def of(*more):
        return identities(config(whole_root, *more)), setting_id(config(whole_root, *more))

    one, other, seed = (
        of("dataset.test_fraction=0.3"),
        of("dataset.test_fraction=0.4"),
        of("dataset.test_fraction=0.3", "split_seed=1"),
    )
    assert not {*one[0], one[1]} & {*other[0], other[1]}
    assert not {*one[0]} & {*seed[0]} and one[1] == seed[1]


def test_together_with_validation_and_a_tail():
    labels = np.repeat(np.arange(4), 40)
    whole = {"profile": "exponential", "seed": 0, "pool_per_class": None}
    made = make_split(labels, 4, factor=10, validation_fraction=0.25, test_fraction=0.25, **whole)
    assert np.bincount(labels[made.test]).tolist() == [10] * 4
    assert (np.bincount(labels[np.append(made.train, made.validation)])).tolist() == [30, 13, 6, 3]
    everything = np.concatenate([made.train, made.validation, made.test])
    assert len(np.unique(everything)) == len(everything)
    assert not set(made.balanced) & {*made.test, *made.validation}
    plain = make_split(labels, 4, factor=None, validation_fraction=0, **whole)
    assert len(plain.test) == 0 and len(plain.train) == 160
    assert test_part(labels, 4, 0.25, 0).tolist() == made.test.tolist()


def test_what_cannot_be_cut_is_refused(whole_root, split_root):
    with pytest.raises(
        DataError, match=r"there is a test list, .*test, and dataset.test_fraction=0.2 .*test_list=null"
    ):
        load(split_root, "dataset.test_fraction=0.2")
    assert load(split_root, "dataset.test_fraction=0.2", "dataset.test_list=null").num_classes == 4
    with pytest.raises(UsageError, match="dataset.test_fraction=1 leaves nothing to train on"):
        config(whole_root, "dataset.test_fraction=1")
    with pytest.raises(UsageError, match="test_fraction and dataset.split_dir exclude each other"):
        config(whole_root, "dataset.test_fraction=0.2", "dataset.split_dir=x", "split_seed=1")
    for name in ("n0000", "n0001", "n0002"):
        for path in list((whole_root / name).iterdir())[1:]:
            path.unlink()
    with pytest.raises(UsageError, match="test_fraction=0.2 cuts no image: a class needs two"):
        load(whole_root, "dataset.test_fraction=0.2")


def test_where_there_is_no_test_part_the_message_says_how_to_cut_one(whole_root, split_root):
    shutil.rmtree(split_root / "test")
    for root, hint in (
        (split_root, "where there is no test part yet: "),
        (whole_root, f"or the folders in {whole_root} are"),
    ):
        with pytest.raises(DataError, match="no test list") as caught:
            identities(config(root))
        assert hint in str(caught.value) and "dataset.test_fraction=0.2" in str(caught.value)
    (split_root / "train").rename(split_root / "more")
    with pytest.raises(DataError, match="no train list: .*nowhere"):
        identities(config(split_root, "dataset.train_list=nowhere", "dataset.test_fraction=0.2"))
    with pytest.raises(DataError, match="^dataset.root=.*nowhere is no folder\nno train list: .*nowhere"):
        identities(config(split_root / "nowhere", "dataset.test_fraction=0.2"))


def test_check_counts_the_classes_and_says_what_is_cut(whole_root, capsys):
    assert main(["check", *words(whole_root, "dataset.test_fraction=0.3", "progress=false")]) == 0
    said = capsys.readouterr().out
    assert "train: 13 images in 4 classes of 1 to 6" in said
    assert "test: 4 images in 4 classes of 0 to 2, cut from the training images (dataset.test_fraction=0.3," in said


def test_a_run_of_an_unsplit_folder(whole_root, tmp_path):
    run = tiny(tmp_path / "runs", *words(whole_root, "dataset.test_fraction=0.3"))
    record, folder = execute(run)
    assert record.metrics["test_counts"] == [2, 1, 1, 0] and record.metrics["train_counts"] == [4, 3, 1, 1]
    assert record.settings["dataset.test_fraction"] == 0.3 and record.settings["dataset.num_classes"] == 4
    manifest = read_json(folder / "split.json")
    assert manifest["test_fraction"] == 0.3 and manifest["test_images"] == 4

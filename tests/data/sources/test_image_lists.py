"""Data sets of image files: which lists are read, and what their counts must be."""

import shutil

import pytest
from helpers import image_trees

from lt_bench.config.compose import compose
from lt_bench.data.source import read_source
from lt_bench.data.sources.image_lists import describe
from lt_bench.errors import DataError
from lt_bench.preflight.validate import validate


def read(*words):
    return read_source(validate(compose(words)))


@pytest.mark.parametrize(
    ("dataset", "stem"), [("imagenet_lt", "ImageNet_LT"), ("places_lt", "Places_LT"), ("inat18", "iNaturalist18")]
)
def test_the_lists_of_a_published_data_set(dataset, stem, tmp_path):
    lists = read(*image_trees.overrides(image_trees.image_lists(tmp_path, stem), dataset))
    assert lists.problems == [] and lists.num_classes == 8
    assert describe(lists.train, 8) == "80 images in 8 classes of 3 to 24"
    if dataset == "inat18":  # everybody evaluates on the validation list
        assert lists.validation is None and describe(lists.test, 8) == "16 images in 8 classes of 2"
    else:
        assert describe(lists.validation, 8) == "16 images in 8 classes of 2"
        assert describe(lists.test, 8) == "24 images in 8 classes of 3"


@pytest.mark.parametrize(("dataset", "folder"), [("imagenet", "val"), ("image_folder", "test")])
def test_folders_of_classes(dataset, folder, tmp_path):
    image_trees.write_classes(tmp_path / "train", image_trees.COUNTS)
    image_trees.write_classes(tmp_path / folder, (2,) * 8)
    lists = read(*image_trees.overrides(tmp_path, dataset))
    assert lists.problems == [] and len(lists.train.names) == 80 and len(lists.test.names) == 16
    assert lists.train.names[0] == "train/n0000/n0000_0.JPEG" and lists.test.labels.tolist() == sorted([*range(8)] * 2)


def test_folders_without_images_are_named(tmp_path):
    root = image_trees.tree(tmp_path, "image_folder")
    (root / "test" / "n0003b").mkdir()
    lists = read(*image_trees.overrides(root, "image_folder"))
    assert lists.problems == []
    assert lists.remarks == ("test: no image in the folder of a class 'n0003b', which is none",)
    for path in (root / "train" / "n0003").iterdir():
        path.rename(path.with_suffix(".heic"))
    said = [str(problem) for problem in read(*image_trees.overrides(root, "image_folder")).problems]
    assert said[0].startswith(f"{root / 'train'}: class 'n0003': 9 images with the suffix .heic (n0003/n0003_0.heic, ")
    assert said[1:] == [f"{root / 'train'}: class 3 (n0003) has no image (dataset.num_classes=8)"]
    (root / "train" / "n0009").mkdir()
    lists = read(*image_trees.overrides(root, "image_folder"))
    assert [problem.what for problem in lists.problems][-1] == "class 'n0009' has no image"


def test_csv_lists_whose_classes_have_names(tmp_path):
    image_trees.write_classes(tmp_path / "all", (3, 2))
    (tmp_path / "train.csv").write_text(
        "path,label\nall/n0001/n0001_0.JPEG,zebra\nall/n0000/n0000_0.JPEG,ape\nall/n0000/n0000_1.JPEG,ape\n"
    )
    (tmp_path / "test.csv").write_text("path,label\nall/n0001/n0001_1.JPEG,zebra\n")
    words = ["dataset.train_list=train.csv", "dataset.test_list=test.csv", "dataset.num_classes=2"]
    lists = read("dataset=image_folder", f'dataset.root="{tmp_path}"', *words)
    assert lists.problems == [] and lists.train.labels.tolist() == [1, 0, 0] and lists.test.labels.tolist() == [1]


def test_what_the_published_lists_count_is_required(tmp_path):
    words = image_trees.overrides(image_trees.image_lists(tmp_path))
    lists = read(*words, "dataset.train_images=81", "dataset.class_sizes=[5,24]", "dataset.test_images=24")
    where = tmp_path / "lists" / "ImageNet_LT_train.txt"
    assert [str(problem) for problem in lists.problems] == [
        f"{where}: 80 images, expected 81 (dataset.train_images)",
        f"{where}: classes of 3 to 24 images, expected 5 to 24 (dataset.class_sizes)",
    ]
    with pytest.raises(DataError, match=r"expected 81.*\n.*\nmend files or lists; python -m lt_bench.data check"):
        lists.require_sound()


def test_a_class_without_images_an_unbalanced_test_part_and_shared_files(tmp_path):
    root = image_trees.image_lists(tmp_path)
    test = root / "lists" / "ImageNet_LT_test.txt"
    lines = test.read_text().splitlines()
    test.write_text("\n".join([*lines[1:], "train/n0003/n0003_0.JPEG 3"]))
    lists = read(*image_trees.overrides(root), "dataset.test_images=24", "dataset.num_classes=9")
    assert [problem.what for problem in lists.problems] == [
        "class 8 has no image (dataset.num_classes=9)",
        "classes of 0 to 4 images, expected all of one size",
        f"train/n0003/n0003_0.JPEG is also in {root / 'lists' / 'ImageNet_LT_train.txt'}",
    ]
    assert lists.problems[2].line == 24


def test_an_error_shows_the_first_problems(tmp_path):
    root = image_trees.image_lists(tmp_path)
    (root / "lists" / "ImageNet_LT_train.txt").write_text("".join(f"../{n} 0\n" for n in range(30)))
    with pytest.raises(DataError) as caught:
        read(*image_trees.overrides(root)).require_sound()
    lines = str(caught.value).splitlines()
    assert len(lines) == 12 and "train.txt:10: '../9' is absolute or goes up" in lines[9] and lines[10] == "and 28 more"


def test_all_missing_lists_are_named_with_what_to_type(tmp_path):
    with pytest.raises(DataError) as caught:
        read(f'dataset.root="{tmp_path}"', "dataset=imagenet_lt")
    message = str(caught.value)
    for part in ("train", "val", "test"):
        assert str(tmp_path / f"ImageNet_LT_{part}.txt") in message
    assert "dataset.list_dir=DIR" in message and f"dataset.root=DIR (now {tmp_path})" in message


def test_published_counts():
    """Images and classes of ImageNet-LT, Places-LT and iNaturalist 2018, as in the papers' descriptions."""
    found = {}
    for name in ("imagenet_lt", "places_lt", "inat18", "imagenet"):
        data = validate(compose([f"dataset={name}"])).dataset
        found[name] = (data.num_classes, data.train_images, data.validation_images, data.test_images, data.class_sizes)
    assert found == {
        "imagenet_lt": (1000, 115846, 20000, 50000, [5, 1280]),
        "places_lt": (365, 62500, 7300, 36500, [5, 4980]),
        "inat18": (8142, 437513, None, 24426, [2, 1000]),
        "imagenet": (1000, 1281167, None, 50000, [732, 1300]),
    }


def test_a_probe_list_may_name_training_images_and_no_others_again(tmp_path):
    words = [*image_trees.overrides(image_trees.image_lists(tmp_path)), "dataset.probe_list=probe.txt"]
    path = tmp_path / "lists" / "probe.txt"
    path.write_text("train/n0000/n0000_3.JPEG 0\nmore/a.JPEG 1\n")
    lists = read(*words)
    assert lists.problems == [] and lists.parts()["probe"].labels.tolist() == [0, 1]
    path.write_text("train/n0000/n0000_3.JPEG 0\nval/n0001/n0001_1000.JPEG 1\n")
    where = tmp_path / "lists" / "ImageNet_LT_val.txt"
    assert [str(problem) for problem in read(*words).problems] == [
        f"{path}:2: val/n0001/n0001_1000.JPEG is also in {where}"
    ]


def test_a_folder_that_lacks_a_class_beside_a_list_of_numbers(tmp_path):
    """Its classes are not numbered by the alphabet of those that are left: the paths in the list say which is which."""
    root = image_trees.tree(tmp_path, "image_folder")
    rows = [(f"train/{path.parent.name}/{path.name}", int(path.parent.name[1:])) for path in root.glob("train/*/*")]
    image_trees.write_list(root / "train.txt", rows)
    words = [*image_trees.overrides(root, "image_folder"), "dataset.train_list=train.txt", "dataset.list_dir=null"]
    whole = read(*words)
    assert whole.problems == [] and whole.without_images(whole.test) == []
    shutil.rmtree(root / "test" / "n0003")
    lists = read(*words)
    assert lists.problems == [] and lists.without_images(lists.test) == ["class 3 (n0003)"]
    assert [int(name.split("/")[1][1:]) for name in lists.test.names] == lists.test.labels.tolist()
    image_trees.write_list(
        root / "train.txt", [(f"all/{number}.JPEG", label) for number, (_, label) in enumerate(rows)]
    )
    problems = [str(problem) for problem in read(*words).problems]
    assert len(problems) == 7 and problems[0] == (
        f"{root / 'test'}: class 'n0000' (3 images) is none of the numbers in {root / 'train.txt'}, and no folders in "
        "its paths tell which; write the names in the order of their numbers into a file, one a line: "
        "dataset.classes=FILE, or, where that is the order of the alphabet, dataset.classes=alphabetical"
    )
    (root / "names.txt").write_text("".join(f"n{label:04d}\n" for label in range(8)))
    told = read(*words, "dataset.classes=names.txt")
    assert told.problems == [] and told.test.labels.tolist() == lists.test.labels.tolist()
    assert [problem.what for problem in read(*words, "dataset.classes=alphabetical").problems] == [
        "7 names, and dataset.num_classes=8",
    ]


def test_a_folder_of_lists_that_nothing_is_read_from_is_said(tmp_path):
    root, lists = image_trees.tree(tmp_path, "image_folder"), tmp_path / "lists"
    lists.mkdir()
    words = [*image_trees.overrides(root, "image_folder"), f'dataset.list_dir="{lists}"', "dataset.num_classes=null"]
    (remark,) = read(*words).remarks
    assert f"dataset.list_dir={lists}: no list is read from it, train is the folder {root / 'train'}" in remark
    for part, names in {"train": "ab", "test": "ab"}.items():  # what is in the folder that was named comes first
        image_trees.write_list(lists / part, [(f"{part}/{name}.jpg", label) for label, name in enumerate(names)])
    found = read(*words)
    assert found.remarks == () and found.train.names == ["train/a.jpg", "train/b.jpg"]
    assert found.test.origin == str(lists / "test")


def test_a_class_may_have_the_name_of_a_part(tmp_path):
    for name in ("bus", "car", "train"):
        for number in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            image_trees.picture(0, number).save(tmp_path / name / f"{number}.png")
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    words = ["dataset=image_folder", f'dataset.root="{tmp_path}"', "dataset.test_fraction=0.3"]
    lists = read(*words)
    assert lists.problems == [] and lists.classes == ["bus", "car", "train"] and len(lists.train.names) == 9
    (tmp_path / "train" / "a").mkdir()  # folders of classes
    assert read(*words).train.origin == str(tmp_path / "train")


@pytest.mark.parametrize("text", ["", "path,label\na,0\n", "# nothing\n", "alone\n"])
def test_a_training_list_without_classes_is_the_one_problem(text, tmp_path):
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "test.txt").write_text("a.jpg 0\nb.jpg 1\n")
    own = ["dataset=image_folder", f'dataset.root="{tmp_path}"', "dataset.train_list=train.txt"]
    lists = read(*own, "dataset.test_list=test.txt")
    assert {problem.origin for problem in lists.problems} == {str(tmp_path / "train.txt")}
    assert describe(lists.train, lists.num_classes) == describe(lists.test, 0) == "no image of a class"


def test_a_line_that_is_none_changes_no_number_of_classes(tmp_path):
    (tmp_path / "train.txt").write_text("a.jpg\nb.jpg 1\n")
    (tmp_path / "test.txt").write_text("c.jpg 0\nd.jpg 1\n")
    own = ["dataset=image_folder", f'dataset.root="{tmp_path}"', "dataset.train_list=train.txt"]
    lists = read(*own, "dataset.test_list=test.txt")
    assert lists.num_classes == 2 and [problem.line for problem in lists.problems] == [1, 0]


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "validation"), ("test_set", "training_set")])
def test_folders_named_as_parts_are_no_classes(names, tmp_path):
    for name in names:
        image_trees.write_classes(tmp_path / name, (2, 2))
    words = ["dataset=image_folder", f'dataset.root="{tmp_path}"']
    for more in ([], ["dataset.test_fraction=0.2"]):
        with pytest.raises(DataError, match="named as parts are") as caught:
            read(*words, *more)
        train = next(name for name in names if "train" in name.lower())
        assert f"dataset.train_list={train}" in str(caught.value)
    assert read(*words, "dataset.test_fraction=0.2", "dataset.train_list=.").classes == sorted(names)


def test_a_folder_named_as_a_part_is_not_left_out_without_a_word(tmp_path):
    for name in ("train", "val"):
        image_trees.write_classes(tmp_path / name, (2, 2))
    (tmp_path / "eval").touch()  # no folder
    words = ["dataset=image_folder", f'dataset.root="{tmp_path}"']
    with pytest.raises(DataError, match=r"there is val, named as parts are: dataset.test_list=val tests on it"):
        read(*words)
    (remark,) = read(*words, "dataset.test_fraction=0.2").remarks
    assert remark.startswith("not read: val, named as parts are")
    assert read(*words, "dataset.test_fraction=0.2", "dataset.validation_list=val").remarks == ()


COUNTED_FROM_1 = "labels count from 0, and these seem to count from 1: take 1 from each"


@pytest.mark.parametrize("count", ["null", "3"])
def test_labels_that_count_from_1_are_told_so(count, tmp_path):
    rows = [(f"all/{name}", label + 1) for name, label in image_trees.write_classes(tmp_path / "all", (3, 2, 2))]
    for part, share in (("train", rows[::2]), ("test", rows[1::2])):
        image_trees.write_list(tmp_path / f"{part}.txt", share)
    words = [*image_trees.overrides(tmp_path, "image_folder", (1,) * 3), f"dataset.num_classes={count}"]
    found = read(*words, "dataset.train_list=train.txt", "dataset.test_list=test.txt").problems
    assert any(problem.what.startswith("class 0 has no image") for problem in found)
    assert all(COUNTED_FROM_1 in problem.what for problem in found if problem.origin.endswith("train.txt"))


def test_a_test_list_beside_the_training_list_is_named(tmp_path):
    rows = [(f"all/{name}", label) for name, label in image_trees.write_classes(tmp_path / "all", (3, 2))]
    (tmp_path / "lists").mkdir()
    for part in ("train", "test"):
        image_trees.write_list(tmp_path / "lists" / f"{part}.txt", rows)
    words = [*image_trees.overrides(tmp_path, "image_folder", (1, 1)), f"dataset.train_list={tmp_path}/lists/train.txt"]
    said = rf"test.txt lies beside the training list: dataset.test_list={tmp_path}/lists/test.txt"
    with pytest.raises(DataError, match=said):
        read(*words)

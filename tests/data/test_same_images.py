"""One image in two parts, or under two labels, is said: by its bytes in a run, by its pixels in a check."""

import os
import shutil

import pytest
from helpers.chain import execute, tiny
from helpers.image_trees import picture, write_classes
from helpers.odd_folders import encoded

from lt_bench.data.__main__ import main
from lt_bench.run.execute import carry_out

RUN = ("backbone=tiny", "method=ce", "stage_two=none", "recipe=none", "dataset.workers=0", "dataset.image_size=16")


@pytest.fixture(autouse=True)
def a_cache_of_its_own(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path):
    write_classes(tmp_path / "data" / "train", (4, 3, 3))
    write_classes(tmp_path / "data" / "test", (2, 2, 2), first=100)
    return tmp_path / "data"


def words(root, *more):
    own = ["dataset=image_folder", "dataset.num_classes=3", f'dataset.root="{root}"', "dataset.validation_fraction=0"]
    return [*own, "progress=false", *more]


def warnings(root, capsys, *more):
    """What a check and a run warn of."""
    capsys.readouterr()
    assert main(["check", *words(root, "dataset.workers=0", *more)]) == 0
    lines = capsys.readouterr().out.splitlines()
    checked = [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]
    record, _ = execute(tiny(root.parent / "runs", *words(root, *more), *RUN))
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "warning" in line] == [
        f"lt_bench: warning: {line}" for line in record.environment.get("same_images", [])
    ]
    return checked, record.environment.get("same_images", [])


def copied(source, target):
    shutil.copyfile(source, target)


def hard_linked(source, target):
    os.link(source, target)


def linked(source, target):
    target.symlink_to(os.path.relpath(source, target.parent))


@pytest.mark.parametrize("spelt", [copied, hard_linked, linked])
def test_an_image_in_two_parts_is_said_and_recorded_however_it_is_spelt(spelt, root, capsys):
    assert warnings(root, capsys) == ([], [])
    spelt(root / "train/n0000/n0000_1.JPEG", root / "test/n0000/other name.JPG")
    spelt(root / "train/n0001/n0001_0.JPEG", root / "test/n0002/x.jpeg")
    said = [
        "2 images of test are in train too (1 under another label), the first test/n0000/other name.JPG as "
        "train/n0000/n0000_1.JPEG"
    ]
    assert warnings(root, capsys) == (said, said)


def test_a_finished_run_says_it_again(root, capsys):
    copied(root / "train/n0000/n0000_1.JPEG", root / "test/n0000/1.JPG")
    for _ in range(2):
        carry_out(tiny(root.parent / "runs", *words(root), *RUN))
        assert "\n  1 image of test is in train too, the first test/n0000/1.JPG as" in capsys.readouterr().out


def test_an_image_under_two_labels_is_said(root, capsys):
    copied(root / "train/n0000/n0000_1.JPEG", root / "train/n0002/1.jpg")
    said = [
        "1 image of train is in another class too, the first train/n0002/1.jpg as train/n0000/n0000_1.JPEG: "
        "class 0 (n0000) and class 2 (n0002)"
    ]
    assert warnings(root, capsys) == (said, said)


def test_the_same_pixels_in_another_file_are_said_by_a_check(root, capsys):
    image = picture(7, 7)
    (root / "train/n0001/p.png").write_bytes(encoded(image))
    (root / "test/n0001/p.bmp").write_bytes(encoded(image, "BMP"))
    said = "1 image of test is in train too, the first test/n0001/p.bmp as train/n0001/p.png"
    assert warnings(root, capsys) == ([said], [])


def test_what_a_run_does_not_use_is_no_matter_to_it(root, capsys):
    """Copies among the images that a validation part is cut from may be in two parts."""
    copied(root / "train/n0000/n0000_1.JPEG", root / "train/n0000/n0000_9.JPEG")
    assert warnings(root, capsys) == ([], [])
    cuts = ([f"split_seed={seed}", "dataset.validation_per_class=2", "imbalance=native"] for seed in range(9))
    (line,) = next(filter(None, (warnings(root, capsys, *words)[1] for words in cuts)))
    assert line.startswith("1 image of validation is in train too, the first train/n0000/n0000_")


def test_a_packed_copy_knows_its_files(root, capsys):
    copied(root / "train/n0000/n0000_1.JPEG", root / "test/n0000/1.JPG")
    packed = ("dataset.short_side=20", f"dataset.packed={root.parent / 'packed'}", "dataset.workers=0")
    assert main(["prepare", *words(root, *packed)]) == 0
    checked, run = warnings(root, capsys, *packed)
    assert checked == run and len(run) == 1


def test_that_a_sample_is_not_enough_to_look_for_them_is_said_and_recorded(root, capsys):
    copied(root / "train/n0000/n0000_1.JPEG", root / "test/n0000/1.JPG")
    record, _ = execute(tiny(root.parent / "runs", *words(root), *RUN, "dataset.content_rule=sample"))
    same, drawn = record.environment["not_looked_at"]
    said = capsys.readouterr().err
    assert f"lt_bench: note: {same}\n" in said and f"lt_bench: note: {drawn}\n" in said
    assert same.startswith("images that are in two parts or under two labels are not looked for")
    assert "same_images" not in record.environment
    record, _ = execute(tiny(root.parent / "runs", *words(root), *RUN))
    assert "not_looked_at" not in record.environment and len(record.environment["same_images"]) == 1

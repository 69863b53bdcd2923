"""python -m lt_bench.data check: everything that is wrong at once, and the exit status."""

import os
import re
import subprocess
import sys

import pytest
from helpers import image_trees
from helpers.command_line import without_torch
from helpers.odd_folders import encoded, turned

from lt_bench.data.__main__ import main


@pytest.fixture
def root(tmp_path):
    return image_trees.image_lists(tmp_path)


def spoil(root):
    """One of every kind of problem; what is to be said of each."""
    train = root / "lists" / "ImageNet_LT_train.txt"
    (root / "train/n0001/n0001_2.JPEG").unlink()
    cut = root / "train/n0002/n0002_3.JPEG"
    cut.write_bytes(cut.read_bytes()[:400])
    outside = root.parent / f"{root.name}-outside.JPEG"
    cut = root / "train/n0003/n0003_1.JPEG"
    cut.rename(outside)
    os.symlink(outside, cut)
    lines = train.read_text().splitlines()
    lines[5] = lines[4]
    lines[7] = lines[7].replace(" 0", " 8")
    lines[9] = "../" + lines[9]
    train.write_text("\n".join(lines) + "\n")
    return train, {
        6: "train/n0000/n0000_4.JPEG is named before, in line 5",
        8: "label '8' is not one of 0 .. 7",
        10: "'../train/n0000/n0000_9.JPEG' is absolute or goes up; write the path below the data root",
        27: "train/n0001/n0001_2.JPEG cannot be read (No such file or directory)",
        45: "train/n0002/n0002_3.JPEG is not a complete image",
        55: "train/n0003/n0003_1.JPEG is a link to",
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_every_problem_is_found_at_once(root, workers, capsys):
    train, expected = spoil(root)
    words = [*image_trees.overrides(root), f"dataset.workers={workers}", "dataset.train_images=80"]
    assert main(["check", *words]) == 1
    output = capsys.readouterr()
    first, *lines = output.out.splitlines()
    assert first == f"{train}: 77 images, expected 80 (dataset.train_images)"
    for (line, said), found in zip(expected.items(), lines, strict=False):
        assert found.startswith(f"{train}:{line}: {said}")
    assert lines[-1] == "7 problems found in ImageNet-LT"
    assert "checking train" in output.err and "77/77" in output.err


def test_nothing_wrong(root, capsys):
    assert main(["check", *image_trees.overrides(root), "progress=false"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    lists = root / "lists"
    assert re.sub("bytes:[0-9a-f]{16}", "bytes:0", output.out).splitlines() == [
        f"train: 80 images in 8 classes of 3 to 24, from {lists / 'ImageNet_LT_train.txt'}",
        f"validation: 16 images in 8 classes of 2, from {lists / 'ImageNet_LT_val.txt'}",
        f"test: 24 images in 8 classes of 3, from {lists / 'ImageNet_LT_test.txt'}",
        "train: not ImageNet-LT's published list: its git blob is 6ab2e8de022e, not one of a063f095fcd4, 10096494e5ea, "
        "f16582de69e8; known as bytes:0",
        "validation: not ImageNet-LT's published list: 16 images, the published list has 20,000; known as bytes:0",
        "test: not ImageNet-LT's published list: 24 images, the published list has 50,000; known as bytes:0",
        "classes by number: n0000, n0001, n0002, n0003, n0004, n0005, n0006, n0007",
        "0 problems found in ImageNet-LT",
    ]


def test_what_a_plain_conversion_drops_is_said(root, capsys):
    names = [line.split()[0] for line in (root / "lists" / "ImageNet_LT_train.txt").read_text().splitlines()]
    clear = image_trees.picture(1, 1).convert("RGBA")
    clear.putalpha(9)
    odd = (turned(clear.convert("RGB"), 3), turned(clear.convert("RGB"), 6), encoded(clear))
    for name, content in zip(names, odd, strict=False):
        (root / name).write_bytes(content)
    words = [*image_trees.overrides(root), "progress=false"]
    assert main(["check", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "dataset.pixels" in line] == [
        "train: 2 images with an EXIF tag that turns nothing (dataset.pixels=plain), the first " + names[0],
        "train: 1 image with transparency, which is dropped (dataset.pixels=plain), the first " + names[2],
    ]
    assert main(["check", *words, "dataset.pixels=shown"]) == 0
    assert "dataset.pixels" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chek"], "invalid choice: 'chek'"),
        ([], "the following arguments are required: command"),
        (["check", "dataset=no"], "unknown dataset 'no'"),
        (["check", "dataset=digits_lt", "dataset.test_fraction=0.2"], "dataset=digits_lt has a test part of its own"),
        (["check", "dataset=digits_lt"], "dataset=digits_lt is verified whenever it is read"),
        (["check", "dataset=imagenet_lt", "dataset.workers=-1"], "dataset.workers= takes numbers from 0"),
    ],
)
def test_wrong_usage(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_missing_lists_fail(tmp_path, capsys):
    assert main(["check", "dataset=imagenet_lt", f'dataset.root="{tmp_path}"']) == 1
    assert "no train list" in capsys.readouterr().err


def test_torch_is_never_imported(root, tmp_path):
    (tmp_path / "stub").mkdir()
    command = [sys.executable, "-m", "lt_bench.data", "check", *image_trees.overrides(root)]
    found = subprocess.run(command, env=without_torch(tmp_path / "stub"), capture_output=True, text=True)
    assert (found.returncode, found.stderr.count("torch")) == (0, 0)


def own(root, *more):
    words = ["dataset=image_folder", f'dataset.root="{root}"', "dataset.workers=0", "dataset.validation_fraction=0"]
    return ["check", *words, *more]


@pytest.mark.parametrize("text", ["", "only-words\n", "path,label\n"])
@pytest.mark.parametrize("more", [["dataset.test_list=train.txt"], ["dataset.test_fraction=0.2"]])
def test_lists_without_any_class_are_reported(more, text, tmp_path, capsys):
    (tmp_path / "train.txt").write_text(text)
    assert main(own(tmp_path, "dataset.train_list=train.txt", *more)) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'train.txt'}") and "found in own images" in out and "Traceback" not in err


@pytest.mark.parametrize(
    ("part", "key"), [("test", "dataset.test_fraction=0.5"), ("validation", "dataset.validation_per_class=2")]
)
def test_equal_pixels_in_a_part_that_is_cut(part, key, tmp_path, capsys):
    image_trees.write_classes(tmp_path / "train", (4, 4))
    if part != "test":
        image_trees.write_classes(tmp_path / "test", (1, 1), first=1000)
    assert main(own(tmp_path, key)) == 0
    assert "warning" not in capsys.readouterr().out
    for number in range(4):
        (tmp_path / "train" / "n0000" / f"n0000_{number}.JPEG").unlink()
        image_trees.picture(0, 9).save(tmp_path / "train" / "n0000" / f"{number}.png", compress_level=number)
    assert main(own(tmp_path, key)) == 0
    assert f"warning: 2 images of {part} are in train too" in "".join(capsys.readouterr().out)


def test_parts_that_cannot_be_cut_are_refused_as_a_run_refuses_them(tmp_path, capsys):
    image_trees.write_classes(tmp_path, (4, 4))
    assert main(own(tmp_path, "dataset.test_fraction=0.5", "dataset.validation_per_class=3")) == 2
    assert "dataset.validation_per_class=3 leaves no image of class 0" in capsys.readouterr().err


def test_line_breaks_in_names_of_classes_are_shown_written_out(tmp_path, capsys):
    for part in ("train", "test"):
        image_trees.write_classes(tmp_path / part, (3, 2))
        (tmp_path / part / "n0001").rename(tmp_path / part / "n\n1")
    words = [*image_trees.overrides(tmp_path, "image_folder", (1, 1)), "dataset.validation_fraction=0"]
    assert main(["check", *words, "progress=false"]) == 0
    assert "classes by name: n\\n1, n0000\n" in capsys.readouterr().out

"""Folders of classes: what counts as an image, what is passed over with a word, and what is refused by name."""

import os

import pytest
from helpers.image_trees import picture
from helpers.odd_folders import encoded

from lt_bench.data.sources.folders import read_classes

IMAGE = encoded(picture(1, 1), "JPEG")


@pytest.fixture
def root(tmp_path):
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"):
        put(tmp_path / "data" / "train" / name)
    return tmp_path / "data"


def put(path, content=IMAGE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def read(root, **words):
    return read_classes(root / "train", root, **words)


BEFORE = [("train/cat/1.jpg", "cat"), ("train/cat/2.jpg", "cat"), ("train/dog/1.jpg", "dog")]


@pytest.mark.parametrize(
    ("hidden", "below"),
    [("cat/.ipynb_checkpoints", "/1-checkpoint.jpg"), ("cat/@eaDir", "/1.jpg"), ("__MACOSX", "/cat/1.jpg"),
     ("cat/._1.jpg", ""), (".DS_Store", ""), ("cat/Thumbs.db", ""), (".git", "/objects/1.jpg"), ("#recycle", "/1.jpg"),
     (".ipynb_checkpoints", "/1.jpg"), ("cat/deeper/.hidden", "/1.jpg")],
)  # fmt: skip
def test_hidden_names_and_those_of_tools_are_passed_over_with_a_word(hidden, below, root):
    put(root / "train" / f"{hidden}{below}")
    assert read(root) == (BEFORE, [], [], [f"passed over 1 name hidden or of a tool ({hidden})"])


def test_what_is_no_image_is_counted_by_its_suffix(root):
    for name in ("cat/a.txt", "dog/b.TXT", "dog/c.xml", "cat/README", "list.csv", "stray.jpg"):
        put(root / "train" / name, b"words")
    words = "4 that are no images (.txt 2, no suffix 1, .xml 1); 2 beside the folders of classes (list.csv, stray.jpg)"
    assert read(root) == (BEFORE, [], [], [f"passed over {words}"])


@pytest.mark.parametrize(
    "suffix", ".JPG .jpeg .JPEG .jpe .jfif .png .apng .webp .bmp .tif .TIFF .gif .ppm .pgm .pbm .pnm .mpo".split()
)
def test_suffixes_of_images(suffix, root):
    put(root / "train" / "dog" / f"2{suffix}")
    assert read(root) == ([*BEFORE, (f"train/dog/2{suffix}", "dog")], [], [], [])


@pytest.mark.parametrize(("suffix", "what"), [(".heic", "with the suffix .heic"), (".CR2", "with the suffix .cr2")])
def test_formats_that_are_not_read_are_named_with_their_class(suffix, what, root):
    for number in range(5):
        put(root / "train" / "dog" / f"{number}{suffix}", b"any")
    (problem,) = read(root).problems
    shown = ", ".join(f"dog/{number}{suffix}" for number in range(3))
    assert problem == (
        f"class 'dog': 5 images {what} ({shown} and 2 more); save as JPEG or PNG what is meant, and delete what is not"
    )


@pytest.mark.parametrize("suffix", ["", ".bak", ".jpg~", ".1", ".part"])
def test_images_under_a_suffix_that_says_nothing_are_named(suffix, root):
    put(root / "train" / "dog" / f"2{suffix}")
    found = read(root)
    assert found.images == BEFORE and found.remarks == []
    what = f"with the suffix {suffix}" if suffix else "without a suffix"
    advice = "give a suffix such as .jpg to what is meant, and delete what is not"
    assert found.problems == [f"class 'dog': 1 image {what} (dog/2{suffix}); {advice}"]


def test_classes_without_images_are_named(root):
    (root / "train" / "eel" / "deeper").mkdir(parents=True)
    put(root / "train" / "fox" / "1.tga", b"any")
    found = read(root)
    assert found.empty == ["eel", "fox"] and "class 'fox': 1 image with the suffix .tga" in found.problems[0]
    (root / "flat").mkdir()
    put(root / "flat" / "1.jpg")
    (problem,) = read_classes(root / "flat", root).problems
    assert problem == "no folder in it; it is to hold one folder for each class (1.jpg)"


def test_links_inside_the_root_are_followed_and_keep_their_names(root):
    put(root / "store" / "a.jpg")
    put(root / "store" / "more" / "b.jpg")
    (root / "train" / "dog" / "2.jpg").symlink_to("../../store/a.jpg")
    (root / "train" / "dog" / "deep").symlink_to("../../store/more")
    (root / "train" / "eel").symlink_to(root / "store")
    new = ["train/dog/2.jpg", "train/dog/deep/b.jpg", "train/eel/a.jpg", "train/eel/more/b.jpg"]
    assert read(root) == ([*BEFORE, *((name, name.split("/")[1]) for name in new)], [], [], [])


@pytest.mark.parametrize("target", [".", "..", "../..", "deeper", "../cat", "../../../data/train/cat/deeper"])
def test_links_that_lead_back_never_hang_and_count_nothing_twice(target, root):
    put(root / "train" / "cat" / "deeper" / "3.jpg")
    (root / "train" / "cat" / "deeper" / "deeper").mkdir()
    (root / "train" / "cat" / "loop").symlink_to(target)
    (root / "train" / "cat" / "deeper" / "up").symlink_to("..")
    found = read(root)
    assert [name for name, _ in found.images] == sorted([*(name for name, _ in BEFORE), "train/cat/deeper/3.jpg"])
    assert found.problems == []
    (remark,) = found.remarks
    assert remark.startswith("passed over 2 links to folders that are read anyway (cat/")


@pytest.mark.parametrize("target", [".", "..", "../../data/train"])
def test_a_link_to_the_folder_of_classes_is_no_class(target, root):
    (root / "train" / "loop").symlink_to(target)
    remark = "passed over 1 link to folders that are read anyway (loop)"
    assert read(root) == (BEFORE, [], [], [remark])


def test_folders_that_link_to_each_other_end(root):
    put(root / "one" / "1.jpg")
    put(root / "two" / "2.jpg")
    (root / "one" / "other").symlink_to("../two")
    (root / "two" / "other").symlink_to("../one")
    (root / "train" / "eel").symlink_to("../one")
    found = read(root)
    assert [name for name, label in found.images if label == "eel"] == ["train/eel/1.jpg", "train/eel/other/2.jpg"]


def test_links_out_of_the_root_need_a_word_and_links_to_nowhere_are_named(root):
    outside = root.parent / "outside"
    put(outside / "x.jpg")
    (root / "train" / "cat" / "3.jpg").symlink_to(outside / "x.jpg")
    (root / "train" / "dog" / "more").symlink_to(outside)
    (root / "train" / "eel").symlink_to(outside)
    found = read(root)
    assert found.images == BEFORE and found.empty == ["eel"]
    assert found.problems == [
        f"class {name!r}: 1 link out of the data root ({link}); dataset.follow_links=true reads them"
        for name, link in (("cat", "cat/3.jpg"), ("dog", "dog/more"), ("eel", "eel"))
    ]
    found = read(root, follow_links=True)
    assert found.problems == [] and [name for name, _ in found.images if "x" in name or "3" in name] == [
        "train/cat/3.jpg", "train/dog/more/x.jpg", "train/eel/x.jpg"
    ]  # fmt: skip
    (outside / "x.jpg").unlink()
    nowhere = "is a link that leads nowhere; bring back what it leads to, or delete it"
    assert read(root, follow_links=True).problems == [f"cat/3.jpg {nowhere}"]
    (root / "train" / "fox").symlink_to("fox")
    assert f"fox {nowhere}" in read(root).problems


def test_the_order_is_that_of_names_whatever_the_disk_says(root, monkeypatch):
    put(root / "train" / "cat" / "10" / "1.jpg")
    put(root / "train" / "cat" / "9.jpg")
    monkeypatch.setattr("lt_bench.data.sources.folders._sorted_entries", reversed_entries)
    assert [name for name, _ in read(root).images] == [
        "train/cat/1.jpg", "train/cat/10/1.jpg", "train/cat/2.jpg", "train/cat/9.jpg", "train/dog/1.jpg"
    ]  # fmt: skip


def reversed_entries(folder):
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name, reverse="cat" in folder)


@pytest.mark.parametrize("suffix", ["", ".dat", ".bak"])
def test_each_file_whose_suffix_says_nothing_is_looked_into(suffix, root):
    """The first of them may be a text beside images."""
    put(root / "train" / "cat" / f"A{suffix}", b"text")
    put(root / "train" / "cat" / f"B{suffix}")
    found = read(root)
    (problem,) = found.problems
    assert problem.startswith("class 'cat': 1 image with") and f"(cat/B{suffix})" in problem
    assert found.images == BEFORE and found.remarks == [f"passed over 1 that are no images ({suffix or 'no suffix'} 1)"]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "AVIF"])
def test_an_image_of_any_format_is_known_by_its_first_bytes(form, root):
    content = encoded(picture(1, 1), form) if form != "AVIF" else b"\0\0\0\x1cftypavif\0\0\0\0"
    put(root / "train" / "cat" / "3", content)
    (problem,) = read(root).problems
    assert problem.startswith("class 'cat': 1 image without a suffix (cat/3)")


@pytest.mark.parametrize(
    "content", [b"BMW and Porsche", b"P1: first point", b"RIFF....WAVE", b"\0\0\0\x18ftypisom", b""]
)
def test_what_begins_like_an_image_is_none(content, root):
    put(root / "train" / "cat" / "3", content)
    assert read(root).problems == []

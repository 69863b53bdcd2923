"""Published lists: recognised by their bytes, or by their lines, however folders and line ends are spelt."""

import hashlib
import itertools
import re

import pytest
from helpers import image_trees

import lt_bench.data.published as module
from lt_bench.config.compose import groups
from lt_bench.data.published import blob, has_lists, is_published, published_part, what_differs
from lt_bench.data.sources.lists import numbered, read_rows
from lt_bench.published.lists import PublishedList


def files_of(path):
    return numbered(read_rows(path, path.parent), {str(label): label for label in range(1000)})[0]


ROWS = [(f"n{label:04d}/{number}.JPEG", label) for label in range(5) for number in (3, 1, 2)]


@pytest.fixture
def known(monkeypatch, tmp_path):
    """A published list of which the lines are known, and one of which only the bytes are."""
    path = tmp_path / "published.txt"
    image_trees.write_list(path, [(f"train/{name}", label) for name, label in ROWS])
    lines = sorted(f"{name.rpartition('/')[2]} {label}" for name, label in ROWS)
    lists = [
        PublishedList(
            "a", "train", blob(path.read_bytes()), "train/", 15, hashlib.sha256("\n".join(lines).encode()).hexdigest()
        ),
        PublishedList("b", "test", blob(path.read_bytes()), None, None, None),
    ]
    monkeypatch.setattr(module, "published_lists", lambda dataset: [one for one in lists if one.dataset == dataset])
    return path


def test_the_id_is_git_s():
    assert blob(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_list_is_recognised_in_every_spelling(known, tmp_path):
    path = tmp_path / "list.txt"
    for folder in ("train/", "data_256/", "places365_standard/train/", "", "other/folder/"):
        image_trees.write_list(path, [(folder + name, label) for name, label in ROWS])
        assert published_part("a", files_of(path)) == "train"
        assert published_part("b", files_of(path)) == "test"  # by the folders of lists that are known
    path.write_bytes(known.read_bytes().replace(b"\n", b"\r\n"))
    assert published_part("a", files_of(path)) == "train" and published_part("b", files_of(path)) == "test"
    path.write_bytes(known.read_bytes().rstrip())
    assert published_part("b", files_of(path)) == "test"
    image_trees.write_list(path, [(f"train/{name}", label) for name, label in ROWS[::-1]])
    assert published_part("a", files_of(path)) == "train" and published_part("b", files_of(path)) is None


@pytest.mark.parametrize("rows", [ROWS[:-1], [*ROWS[:-1], (ROWS[-1][0], 3)], [*ROWS[:-1], ("n0004/9.JPEG", 4)]])
def test_another_list_is_not_and_what_differs_is_told(rows, known, tmp_path):
    path = tmp_path / "list.txt"
    image_trees.write_list(path, [(f"train/{name}", label) for name, label in rows])
    assert published_part("a", files_of(path)) is None and published_part("b", files_of(path)) is None
    told = what_differs("a", "train", files_of(path))
    assert (
        told == "14 images, the published list has 15" if len(rows) == 14 else told.startswith("SHA-256 of its sorted")
    )
    assert re.fullmatch(
        "its git blob is [0-9a-f]{12}, not one of [0-9a-f]{12}", what_differs("b", "test", files_of(path))
    )
    assert what_differs("a", "test", files_of(path)) == "there is no published list of it to compare with"


def test_a_list_is_expected_where_its_part_is_used():
    expected = {
        "imagenet_lt": {("train", "train"), ("validation", "validation"), ("test", "test"), ("probe", "train")},
        "inat18": {("train", "train"), ("validation", "validation"), ("test", "validation"), ("probe", "train")},
    }
    for dataset, pairs in expected.items():
        every = itertools.product(("train", "validation", "test", "probe"), ("train", "validation", "test"))
        assert {(part, one) for part, one in every if module.is_expected(dataset, part, one)} == pairs
    assert module.is_expected("imagenet", "train", "counts")
    assert module.published_counts("imagenet") == {"train": 1281167, "test": 50000}


def test_the_table_of_published_lists():
    assert {name for name in groups()["dataset"] if is_published(name)} == {
        "imagenet", "imagenet_lt", "places_lt", "inat18"
    }  # fmt: skip
    assert not has_lists("imagenet") and not is_published("image_folder")
    lists = [one for name in ("imagenet_lt", "places_lt", "inat18") for one in module.published_lists(name)]
    assert len(lists) == len({one.blob for one in lists}) == 14
    assert all(re.fullmatch("[0-9a-f]{40}", one.blob) for one in lists)
    places = [one for one in module.published_lists("places_lt") if one.part == "train"]
    assert len(places) == 3 and len({one.normalised_sha256 for one in places}) == 1  # one data set in three spellings
    assert {one.prefix for one in places} == {"train/", "data_256/", "places365_standard/train/"}

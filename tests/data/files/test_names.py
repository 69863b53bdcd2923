"""Names of files and folders that are no text, or have line breaks, are those of the right images."""

import json
import os

import numpy as np
import pytest
from helpers import image_trees

from lt_bench.config.compose import compose
from lt_bench.data.__main__ import main
from lt_bench.data.content import look
from lt_bench.data.files import digests as cache
from lt_bench.data.files import packed
from lt_bench.data.files.pixels import open_images
from lt_bench.data.source import read_source
from lt_bench.errors import DataError
from lt_bench.files import read_json, write_json
from lt_bench.preflight.validate import validate

NO_TEXT = os.fsdecode(b"\xff\xe9")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "cache"))
    for part, first in (("train", 0), ("test", 100)):
        image_trees.write_classes(tmp_path / "data" / part, (3, 3, 3), first)
        place = tmp_path / "data" / part / "n0001"
        (place / f"n0001_{first}.JPEG").rename(place / f"{NO_TEXT}.JPEG")
        place.rename(place.with_name(f"n0001{NO_TEXT}"))
    return tmp_path / "data"


def words(root, *more):
    return ["dataset=image_folder", "dataset.num_classes=3", f'dataset.root="{root}"', "dataset.workers=0", *more]


def test_names_that_are_no_text_are_read_packed_and_recorded(root, tmp_path, capsys):
    plain = validate(compose(words(root, "dataset.short_side=16")))
    lists = read_source(plain)
    assert lists.problems == [] and lists.train.sha256() != lists.test.sha256()
    copy = words(root, "dataset.short_side=16", f"dataset.packed={tmp_path / 'copy'}")
    assert main(["prepare", *copy]) == 0
    settled = validate(compose(copy))
    files, stored = (open_images(one, lists.root, lists.train.names) for one in (plain, settled))
    for position in range(len(lists.train.names)):
        assert np.array_equal(files[position], stored[position])
    assert look(settled).parts == look(plain).parts
    write_json(tmp_path / "split.json", {"classes": lists.classes})
    assert read_json(tmp_path / "split.json")["classes"] == lists.classes
    assert json.loads((tmp_path / "split.json").read_bytes())["classes"][1] == f"n0001{NO_TEXT}"


def test_the_digest_of_a_file_is_kept_under_any_name_and_no_name_is_taken_for_one(root, tmp_path):
    forged = f"a\r{'0' * 64}\t{cache.stamp_of(str(root / 'train' / 'n0002' / 'n0002_1.JPEG'))}\tn0002_1.JPEG"
    place = root / "train" / "n0002"
    (place / "n0002_0.JPEG").rename(place / forged)
    names = sorted(os.listdir(place))
    for name in names:
        os.utime(place / name, (1, 1))
    found = cache.digests(str(place), names, shown=False)
    cache._write(cache._path_of_cache(str(place)), {}, dict(zip(names, found, strict=True)))
    kept = cache._kept(str(place), names, cache._read(cache._path_of_cache(str(place))))
    assert {name: digest.sha256 for name, digest in kept.items()} == {
        name: cache.digest_of(str(place / name)).sha256 for name in names
    }


def test_names_of_several_lines_are_not_packed_and_a_copy_that_has_them_is_refused(root, tmp_path, capsys, monkeypatch):
    place = root / "train" / "n0000"
    (place / "n0000_1.JPEG").rename(place / "n0000\n_1.JPEG")
    copy = words(root, "dataset.short_side=16", f"dataset.packed={tmp_path / 'copy'}")
    assert main(["prepare", *copy]) == 1 and "names with line breaks: 1, the first" in capsys.readouterr().err
    written = packed._text
    monkeypatch.setattr(packed, "_text", lambda text: written(text.replace("n0000_0", "n0000\n_0")))
    (place / "n0000\n_1.JPEG").rename(place / "n0000_1.JPEG")
    assert main(["prepare", *copy]) == 0
    with pytest.raises(DataError, match="names of several lines"):
        open_images(validate(compose(copy)), root, ["train/n0000/n0000_2.JPEG"])

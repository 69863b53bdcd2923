"""OpenClipart-LT: its manifest, what is said of other files than those in it, and the packed copy."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from lt_bench.config.compose import compose
from lt_bench.data.__main__ import main
from lt_bench.data.source import read_source
from lt_bench.data.sources import openclipart
from lt_bench.data.sources.openclipart import DIGITS, FOLDER, SPLITS, TEST_PER_CLASS, read_manifest
from lt_bench.errors import DataError, UsageError
from lt_bench.preflight.validate import validate
from tests.helpers.openclipart import manifest

CHECKSUMS = {  # of the training and the test list of each split
    0: ("ba5dc7f42eb3efd1", "9e34b0c919030fd1"),
    1: ("8b86dddec4d74db2", "f8fe112327baed20"),
    2: ("ba34adafa64e0b7d", "ede3948bc8c71c32"),
    3: ("d489226952259f2f", "937958e37e44aa38"),
    4: ("41822b824f418fe0", "5228d05754350625"),
}
installed = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{openclipart.PACKAGE} is not installed")


def config(*words):
    return validate(compose(["dataset=openclipart_lt", *words]))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two classes of three drawings, one of which each of two splits tests on, and no system folder."""
    lines = ["# a small one"]
    for label, name in enumerate(("animals", "tools")):
        lines.append(f"{name}/")
        for number in range(3):
            path = tmp_path / "root" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGBA", (70, 90), (40 * label, 80 * number, 9, 128)).save(path)
            digits = hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS]
            lines.append(f"{digits} {number if number < 2 else '-'} {path.name}")
    monkeypatch.setattr(openclipart, "_text", lambda: "\n".join(lines))
    monkeypatch.setattr(openclipart, "FOLDER", tmp_path / "none")
    return tmp_path / "root"


def test_the_manifest_has_five_splits_of_ten_test_images_a_class():
    drawings = read_manifest(openclipart._text())
    assert len(drawings) == len({drawing.name for drawing in drawings}) == 7012
    assert all(len(drawing.digits) == DIGITS for drawing in drawings)
    for split, known in CHECKSUMS.items():
        lists = openclipart._lists(FOLDER, drawings, split, [])
        counts = np.bincount(lists.train.labels)
        assert (len(counts), counts.min(), counts.max()) == (16, 16, 1759) and len(lists.train.names) == 6852
        assert np.bincount(lists.test.labels).tolist() == [TEST_PER_CLASS] * 16
        assert tuple(files.sha256()[:16] for files in (lists.train, lists.test)) == known
    assert set(CHECKSUMS) == set(range(SPLITS))


def test_a_split_trains_on_what_another_tests_on(tree):
    root = f"dataset.root={tree}"
    first, second = (read_source(config(root, f"split_seed={split}")) for split in (0, 1))
    assert first.test.names == ["animals/0.png", "tools/0.png"] and second.test.names == [
        "animals/1.png",
        "tools/1.png",
    ]
    assert set(first.train.names) == {*second.train.names, *second.test.names} - {*first.test.names}
    assert first.classes == ["animals", "tools"] and not first.problems


def test_other_files_are_named(tree, capsys):
    (tree / "animals" / "1.png").write_bytes((tree / "animals" / "0.png").read_bytes())
    (tree / "tools" / "2.png").unlink()
    words = [f"dataset.root={tree}", "dataset.num_classes=2", "dataset.workers=0", "progress=false"]
    assert main(["check", "dataset=openclipart_lt", *words]) == 1
    said = capsys.readouterr().out
    assert "2 of 6 files are not those of OpenClipart-LT's manifest" in said
    assert "animals/1.png is another file" in said and "tools/2.png cannot be read" in said
    with pytest.raises(DataError, match="install it anew"):
        read_source(config(*words)).require_sound()


def test_a_packed_copy_serves_every_split_and_needs_no_files(tree, tmp_path, capsys):
    words = [f"dataset.packed={tmp_path / 'packed'}", "dataset.workers=0", "progress=false"]
    assert main(["prepare", "dataset=openclipart_lt", f"dataset.root={tree}", *words]) == 0
    for path in tree.rglob("*.png"):
        path.unlink()
    for split in range(2):
        assert not read_source(config(*words, f"dataset.root={tree}", f"split_seed={split}")).problems


def test_what_is_not_there_is_refused_with_what_to_install(tree):
    with pytest.raises(DataError, match="apt-get install openclipart-png"):
        read_source(config("data_dir=nowhere"))
    with pytest.raises(UsageError, match="set split_seed to 0 .. 4"):
        read_source(config(f"dataset.root={tree}", "split_seed=5"))


@installed
@pytest.mark.slow
def test_debians_package_has_the_files_of_the_manifest():
    assert not read_source(config("data_dir=nowhere")).problems


@installed
@pytest.mark.slow
def test_the_manifest_is_made_by_its_rule():
    assert manifest() == openclipart._text()

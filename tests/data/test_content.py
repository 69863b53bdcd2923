"""Data sets of one's own are known by the content of their images, wherever it lies and however it is listed."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import image_trees

import lt_bench.data.content as module
import lt_bench.data.files.digests as cache
from lt_bench.config.compose import compose
from lt_bench.data import known_files
from lt_bench.data.__main__ import main
from lt_bench.data.content import look, looked_at_once
from lt_bench.errors import DataError
from lt_bench.launch.planning.plan import plan
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identity_values, run_id, setting_id, stage_one_id

COUNTS = (4, 3, 2)


@pytest.fixture(autouse=True)
def a_cache_of_its_own(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path):
    return tree(tmp_path / "data")


def tree(root):
    """Folders train/ and test/, and lists of the same images in both forms."""
    for part, first, counts in (("train", 0, COUNTS), ("test", 100, (2, 2, 2))):
        rows = [(f"{part}/{name}", label) for name, label in image_trees.write_classes(root / part, counts, first)]
        image_trees.write_list(root / f"{part}.txt", rows)
        (root / f"{part}.csv").write_text("path,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    return root


def config(root, *words):
    own = ("dataset=image_folder", "dataset.num_classes=3", "method=ce", "stage_two=none", "progress=false")
    return validate(compose([*own, f'dataset.root="{root}"', *words]))


def known(root, *words):
    return {part: str(one) for part, one in look(config(root, *words)).parts.items()}


def same_size(path):
    """Other content of the same size at the same time of change."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


FORMS = {
    form: [f"dataset.{part}_list={part}.{form}" for part in ("train", "test")] if form != "folder" else []
    for form in ("folder", "txt", "csv")
}


@pytest.mark.parametrize("form", FORMS)
def test_other_images_under_the_same_names_are_another_run(form, root, tmp_path):
    before = config(root, *FORMS[form])
    ids = run_id(before), stage_one_id(before), setting_id(before)
    assert known(root, *FORMS[form])["train"].startswith("bytes:")
    shutil.copytree(root, tmp_path / "copy")
    copy = config(tmp_path / "copy", *FORMS[form])
    assert (run_id(copy), stage_one_id(copy), setting_id(copy)) == ids  # the same content elsewhere
    same_size(root / "train/n0001/n0001_2.JPEG")
    assert not set(ids) & {run_id(before), stage_one_id(before), setting_id(before)}
    assert known(root, *FORMS[form])["test"] == known(tmp_path / "copy", *FORMS[form])["test"]
    shutil.copy2(tmp_path / "copy/train/n0001/n0001_2.JPEG", root / "train/n0001/n0001_2.JPEG")
    assert run_id(before) == ids[0]  # and the old one is the old run again
    same_size(root / "test/n0000/n0000_100.JPEG")
    assert run_id(before) != ids[0]


def test_the_form_of_a_list_and_the_names_of_files_say_nothing(root):
    assert len({tuple(known(root, *words).values()) for words in FORMS.values()}) == 1
    before = known(root)
    (root / "train" / "n0001").rename(root / "train" / "n0001a")  # in the same order
    (root / "train/n0002/n0002_0.JPEG").rename(root / "train/n0002/n0002_00.JPEG")
    shutil.move(root / "test" / "n0001", root / "test" / "n0001a")
    assert known(root) == before
    assert known(root.parent, "dataset.train_list=data/train", "dataset.test_list=data/test") == before
    (root / "train/n0002/n0002_00.JPEG").rename(root / "train/n0002/z.JPEG")  # another order is another draw
    assert known(root)["train"] != before["train"] and known(root)["test"] == before["test"]


def test_links_are_what_they_lead_to(root, tmp_path):
    before = known(root)
    path = root / "train/n0000/n0000_1.JPEG"
    path.rename(root / "linked.JPEG")
    path.symlink_to("../../linked.JPEG")
    assert known(root) == before
    same_size(root / "linked.JPEG")
    assert known(root)["train"] != before["train"]


def test_labels_decide(root):
    before = known(root, *FORMS["txt"])
    path = root / "train.txt"
    path.write_text(path.read_text().replace("n0000_3.JPEG 0", "n0000_3.JPEG 1"))
    after = known(root, *FORMS["txt"])
    assert after["train"] != before["train"] and after["test"] == before["test"]


def test_a_sample_stands_for_many_files(root, monkeypatch):
    plain = known(root)
    monkeypatch.setattr(known_files, "MANY", 14)
    monkeypatch.setattr(known_files, "SAMPLE", 3)  # every third of nine
    before = known(root)
    assert before["train"].startswith("sample:") and before == known(root, "dataset.content_rule=sample")
    assert known(root, "dataset.content_rule=bytes") == plain != before
    same_size(root / "train/n0000/n0000_1.JPEG")
    assert known(root) == before  # what a sample does not see
    same_size(root / "train/n0000/n0000_3.JPEG")
    seen = known(root)
    assert seen["train"] != before["train"]
    with (root / "train/n0000/n0000_1.JPEG").open("ab") as stream:
        stream.write(b"1")
    assert known(root)["train"] != seen["train"]  # sizes of all
    (root / "train/n0000/n0000_1.JPEG").rename(root / "train/n0000/n0000_11.JPEG")
    assert known(root)["train"] != seen["train"]  # and names


def test_a_packed_copy_is_known_by_the_files_that_it_was_made_of(root, tmp_path, capsys):
    words = (*FORMS["txt"], "dataset.short_side=20", "dataset.workers=0")
    packed = ("dataset.packed=" + str(tmp_path / "packed"), *words)
    plain = config(root, *words)
    assert main(["prepare", "dataset=image_folder", f"dataset.root={root}", "dataset.num_classes=3", *packed]) == 0
    assert run_id(config(root, *packed)) == run_id(plain)
    for rule in ("bytes", "sample"):
        rules = (f"dataset.content_rule={rule}",)
        assert known(root, *packed, *rules) == known(root, *words, *rules)
    before = known(root, *packed)
    same_size(root / "train/n0000/n0000_0.JPEG")
    for rule in ("bytes", "sample"):
        with pytest.raises(
            DataError, match=r"1 of 15 images are others than in the packed copy .*, the first train/n0000/n0000_0"
        ):
            known(root, *packed, f"dataset.content_rule={rule}")
    for part in ("train", "test"):
        shutil.rmtree(root / part)
    assert known(root, *packed) == before  # the lists and the copy are enough


def test_a_copy_of_an_older_version_has_to_be_written_anew(root, tmp_path, monkeypatch):
    import lt_bench.data.files.packed as packing

    words = (*FORMS["txt"], "dataset.short_side=20", "dataset.workers=0", f"dataset.packed={tmp_path / 'packed'}")
    main(["prepare", "dataset=image_folder", f"dataset.root={root}", "dataset.num_classes=3", "progress=false", *words])
    real = packing._read_index
    monkeypatch.setattr(
        packing,
        "_read_index",
        lambda folder: {key: value for key, value in real(folder).items() if not key.startswith("file_")},
    )
    with pytest.raises(DataError, match="is of an older version, .*; write it anew with python -m lt_bench.data prep"):
        look(config(root, *words))


def test_a_plan_looks_once(root, monkeypatch):
    looks = []
    monkeypatch.setattr(
        known_files, "digests", lambda *words, real=known_files.digests: looks.append(1) or real(*words)
    )
    words = ["dataset=image_folder", "dataset.num_classes=3", f'dataset.root="{root}"', "method=ce", "progress=false"]
    runs = plan([*words, "seed=range(20)", "train.lr=0.1,0.2", f"output_dir={root / 'runs'}"])
    assert len(runs) == 40 and len(looks) == 1
    with looked_at_once():
        before = known(root)
        same_size(root / "train/n0000/n0000_0.JPEG")
        assert known(root) == before
    assert known(root) != before


def test_composing_and_help_look_at_nothing(root, monkeypatch, capsys):
    from lt_bench.cli.main import main as cli

    monkeypatch.setattr(known_files, "digests", lambda *words: pytest.fail("looked"))
    config(root)
    own = ["dataset=image_folder", "dataset.num_classes=3", f'dataset.root="{root}"']
    assert cli([*own, "--cfg", "job", "--resolve"]) == 0 and cli(["--help", "dataset.content_rule"]) == 0
    assert "bytes of a sample" in capsys.readouterr().out


def test_published_lists_need_no_images_and_others_count_by_their_lines(tmp_path, monkeypatch):
    root = image_trees.image_lists(tmp_path / "data")
    words = ["dataset=imagenet_lt", f'dataset.root="{root}"', f'dataset.list_dir="{root / "lists"}"', "method=ce"]
    elsewhere = validate(compose(["dataset=imagenet_lt", "method=ce"]))
    here = validate(compose(words))
    values = identity_values(here)
    assert {key: value[:5] for key, value in values.items() if key.startswith("dataset.content.")} == {
        f"dataset.content.{part}": "list:" for part in ("train", "validation", "test")
    }
    parts = {f"ImageNet_LT_{name}.txt": part for name, part in (("train",) * 2, ("val", "validation"), ("test",) * 2)}
    monkeypatch.setattr(module, "published_part", lambda dataset, files: "train")
    assert {key for key in identity_values(here) if key.startswith("dataset.content.")} == {
        "dataset.content.validation", "dataset.content.test"
    }  # fmt: skip
    monkeypatch.setattr(module, "published_part", lambda dataset, files: parts[Path(files.origin).name])
    assert run_id(here) == run_id(elsewhere) and stage_one_id(here) == stage_one_id(elsewhere)
    assert str(look(here).parts["train"]).startswith("list:")


@pytest.mark.parametrize("counts", [(9, 6), ("null", "null")])
def test_part_of_a_published_data_set_is_known_by_its_images(counts, tmp_path):
    own = ["dataset.num_classes=3", f"dataset.train_images={counts[0]}", f"dataset.test_images={counts[1]}"]
    found = set()
    for first in (0, 50):
        root = tmp_path / str(first)
        for part in ("train", "val"):
            image_trees.write_classes(root / part, COUNTS if part == "train" else (2, 2, 2), first)
        words = ["dataset=imagenet", "dataset.class_sizes=null", "progress=false", f'dataset.root="{root}"', *own]
        settled = validate(compose([*words, "method=ce", "stage_two=none"]))
        found.add((run_id(settled), stage_one_id(settled)))
        assert {part: known.rule for part, known in look(settled).parts.items()} == dict.fromkeys(
            ("train", "test"), "bytes"
        )
    assert len(found) == 2


def test_what_this_package_verifies_needs_no_rule():
    for name in ("digits_lt", "cifar10_lt", "cifar100_lt", "fashion_mnist_lt"):
        settled = validate(compose([f"dataset={name}", "method=ce"]))
        assert look(settled).parts == {} and not module.depends_on_files(settled)
        assert not any(key.startswith("dataset.content") for key in identity_values(settled))


SOURCE = """
import numpy as np
from lt_bench.data.sources.common import ImageArrays
def load(root, download=True):
    raise RuntimeError("a plan calls nothing")
"""


def test_a_function_of_ones_own_is_known_by_the_files_below_its_root_and_not_called(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_source_of_files.py").write_text(SOURCE)
    root = tmp_path / "data"
    (root / "a").mkdir(parents=True)
    (root / "a" / "x.npy").write_bytes(b"1")
    words = ("dataset._target_=my_source_of_files.load", "dataset.image_size=8", "trust=[my_source_of_files]")
    base = [
        "dataset=digits_lt", "method=ce", f"output_dir={root / 'runs'}", *words
    ]  # fmt: skip

    def of(*more):
        return run_id(validate(compose([*base, f"dataset.root={root}", *more])))

    first = of()
    (root / "runs").mkdir()
    (root / "runs" / "record.json").write_text("{}")
    (root / ".hidden").write_text("2")
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "m.pyc").write_text("2")
    assert of() == first
    (root / "a" / "x.npy").write_bytes(b"2")
    assert len({first, of(), of("dataset.root=nowhere")}) == 3


@pytest.mark.slow
def test_several_processes_come_to_the_same_identity(root):
    code = (
        "import sys; from lt_bench.config.compose import compose; from lt_bench.preflight.validate import validate; "
        "from lt_bench.record.identity import run_id; print(run_id(validate(compose(sys.argv[1:]))))"
    )
    words = ["dataset=image_folder", "dataset.num_classes=3", "method=ce", "stage_two=none", f"dataset.root={root}"]
    jobs = [subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = {job.communicate()[0].strip() for job in jobs}
    assert found == {run_id(config(root))}
    assert len(list(itertools.chain(cache.cache_folder().glob("*.txt")))) == 1

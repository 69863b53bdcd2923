"""Images that a run is evaluated on or may draw are read before it trains, and once while they stay what they are."""

import os
from collections import Counter

import pytest
import torch
from helpers import image_trees
from helpers.chain import Killed, execute, kill_after, tiny

import lt_bench.data.files.readable as module
from lt_bench.data.__main__ import main
from lt_bench.data.content import looked_at_once
from lt_bench.data.files import digests
from lt_bench.data.files.digests import digest_of
from lt_bench.data.files.image_file import StoredForm
from lt_bench.data.files.pixels import FileImages
from lt_bench.data.files.readable import unreadable
from lt_bench.data.load import load_data
from lt_bench.errors import DataError

PLAIN = StoredForm()
NAMES = [f"train/n0000/n0000_{number}.JPEG" for number in range(6)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "cache"))
    return image_trees.tree(tmp_path / "data", "image_folder")


@pytest.fixture
def read(monkeypatch):
    """The positions of images that are read."""
    found = []
    real = module.problem_of
    monkeypatch.setattr(module, "problem_of", lambda images, position: found.append(position) or real(images, position))
    return found


def problems(root, form=PLAIN, workers=0, contents=None):
    return unreadable(FileImages(root, NAMES, form), NAMES, contents or {}, workers, "reading", False)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:200])


def test_an_image_is_read_once_while_it_stays_what_it_is(root, read):
    cut_off(root / NAMES[3])
    assert len(problems(root)) == 1 and NAMES[3] in problems(root)[0]
    assert read == [0, 1, 2, 3, 4, 5, 3]  # what cannot be read is tried again
    image_trees.picture(0, 3).save(root / NAMES[3])
    cut_off(root / NAMES[1])
    del read[:]
    assert NAMES[1] in problems(root)[0] and read == [1, 3]
    del read[:]
    problems(root, StoredForm(8))
    assert len(read) == 6  # another form, another reading
    (root / NAMES[2]).unlink()
    assert sum("cannot be read" in problem for problem in problems(root)) == 1


def test_what_is_known_by_its_content_is_read_once_without_a_look_at_the_file(root, read, monkeypatch):
    known = {name: digest_of(str(root / name)).sha256 for name in NAMES}
    assert problems(root, contents=known) == []
    (root / NAMES[2]).touch()
    monkeypatch.setattr(FileImages, "stamp", None)
    assert problems(root, contents=known) == [] and read == [0, 1, 2, 3, 4, 5]
    cut_off(root / NAMES[2])
    known[NAMES[2]] = digest_of(str(root / NAMES[2])).sha256
    del read[:]
    assert NAMES[2] in problems(root, contents=known)[0] and read == [2]


def test_a_run_of_images_that_are_known_asks_for_every_file_once(root, tmp_path, read, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_NS", 0)
    execute(tiny(tmp_path / "runs", *words(root)))
    asked, real = Counter[str](), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: asked.update([os.fspath(path)]) or real(path, **how))
    del read[:]
    with looked_at_once():
        execute(tiny(tmp_path / "runs", *words(root, "seed=1")))
    images = sorted(str(path) for path in root.rglob("*.JPEG"))
    assert read == [] and [asked[path] for path in images] == [1] * len(images)


def test_another_decoder_reads_anew_and_no_place_for_a_cache_reads_always(root, read, monkeypatch, tmp_path):
    problems(root)
    monkeypatch.setattr(module, "FIRST_LINE", "another")
    problems(root)
    assert len(read) == 12
    (tmp_path / "file").touch()
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert problems(root) == problems(root) == [] and len(read) == 24


def test_what_was_read_is_kept_where_the_reading_is_interrupted(root, read, monkeypatch):
    def interrupted(images, position):
        if position == 4:
            raise KeyboardInterrupt
        return counted(images, position)

    counted = module.problem_of
    monkeypatch.setattr(module, "problem_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        problems(root)
    monkeypatch.setattr(module, "problem_of", counted)
    assert problems(root) == [] and read == [0, 1, 2, 3, 4, 5]


def test_processes_read_many(root, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    cut_off(root / NAMES[5])
    (problem,) = problems(root, workers=2)
    assert NAMES[5] in problem


def words(root, *more):
    own = image_trees.overrides(root, "image_folder")
    return [word for word in own if "list_dir" not in word] + ["method=ce", "train.batch_size=16", *more]


def test_a_broken_test_image_stops_a_run_before_its_first_step(root, tmp_path, monkeypatch):
    broken = root / "test" / "n0001" / "n0001_1001.JPEG"
    whole = broken.read_bytes()
    cut_off(broken)
    kill_after(monkeypatch, 1)
    config = tiny(tmp_path / "runs", *words(root, "dataset.on_bad_image=skip"))
    with pytest.raises(DataError, match=r"test/n0001/n0001_1001.JPEG is not a complete image.*\n.*before training"):
        execute(config)
    assert not [*(tmp_path / "runs").rglob("checkpoint*")]
    broken.write_bytes(whole)
    with pytest.raises(Killed):
        execute(config)


def test_a_broken_image_of_a_packed_copy_stops_another_stage_two_on_the_same_encoder(root, tmp_path):
    copy = tmp_path / "copy"
    stored = [f"dataset.packed={copy}", "dataset.short_side=256"]
    assert main(["prepare", *words(root, *stored, "progress=false")]) == 0
    whole = (copy / "images.bin").read_bytes()
    first, _ = execute(tiny(tmp_path / "packed", *words(root, *stored, "stage_two=none")))
    (copy / "images.bin").write_bytes(whole[:-9] + bytes(9))
    second = tiny(tmp_path / "packed", *words(root, *stored, "stage_two=ncm"))
    with pytest.raises(DataError, match=r"is damaged in the packed copy .*\n.*before training"):
        execute(second)
    (copy / "images.bin").write_bytes(whole)
    done, _ = execute(second)
    assert done.stage_one_id == first.stage_one_id


def test_what_is_not_evaluated_is_not_read(root, tmp_path):
    cut_off(root / "test" / "n0001" / "n0001_1001.JPEG")
    chosen = ["evaluation.split=validation", "dataset.validation_fraction=0.3"]
    record, _ = execute(tiny(tmp_path / "runs", *words(root, *chosen)))
    assert record.evaluated_on == "validation"
    with pytest.raises(DataError, match=r"n0001_1001.JPEG is not a complete image"):
        execute(tiny(tmp_path / "runs", *words(root, *chosen, "stage_two=none", "evaluation.select=best_test")))


SMOKE = ("train.batch_size=4", "budget.max_steps_per_epoch=1")  # a few of the training images are drawn


def test_a_run_that_would_not_draw_a_broken_image_stops_as_the_check_reports_it(root, tmp_path, capsys):
    broken = root / "train" / "n0000" / "n0000_7.JPEG"
    cut_off(broken)
    assert main(["check", *words(root, "progress=false")]) == 1
    assert "train/n0000/n0000_7.JPEG is not a complete image" in capsys.readouterr().out
    config = tiny(tmp_path / "runs", *words(root, *SMOKE))
    with pytest.raises(DataError, match=r"train/n0000/n0000_7.JPEG is not a complete image.*\n.*on_bad_image=skip"):
        execute(config)
    assert not [*(tmp_path / "runs").rglob("checkpoint*")]
    execute(tiny(tmp_path / "runs", *words(root, *SMOKE, "dataset.on_bad_image=skip")))
    execute(tiny(tmp_path / "runs", *words(root, *SMOKE, "dataset.content_rule=sample")))  # which says so
    assert "training images are read as they are drawn, and this budget does not draw all" in capsys.readouterr().err


def test_images_that_stage_two_alone_may_draw_are_read_before_stage_one_trains(root, tmp_path, monkeypatch):
    tail = ["imbalance.profile=step", "imbalance.factor=3", "dataset.pool_per_class=3"]  # one image of class 7
    config = tiny(tmp_path / "runs", *words(root, *tail), "method=simclr", "stage_two=linear_probe")
    drawn = load_data(config, torch.device("cpu")).train.names
    (broken, _) = [name for name in (f"train/n0007/n0007_{number}.JPEG" for number in range(3)) if name not in drawn]
    cut_off(root / broken)
    kill_after(monkeypatch, 1)
    with pytest.raises(DataError, match=f"{broken} is not a complete image"):
        execute(config)
    with pytest.raises(Killed):
        execute(config, only_stage_one=True)

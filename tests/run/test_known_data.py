"""Runs on data of one's own: what changed under a run, between stop and resume, or after it, never passes unnoticed."""

import json
import shutil

import pytest
from helpers import image_trees
from helpers.chain import Killed, execute, kill_after, tiny

from lt_bench.data import content
from lt_bench.errors import DataError, UsageError
from lt_bench.run.execute import carry_out
from lt_bench.run.stages import Runner
from lt_bench.run.summary import summary

WORDS = (
    "method=ce",
    "stage_two=none",
    "train.batch_size=16",
    "dataset.image_size=16",
    "dataset.workers=0",
    "recipe=none",
)


@pytest.fixture
def root(tmp_path):
    return image_trees.tree(tmp_path / "data", "image_folder")


def own(root, tmp_path, *words):
    folder = ("dataset=image_folder", "dataset.num_classes=8", "backbone=tiny", f'dataset.root="{root}"')
    return tiny(tmp_path / "runs", *folder, *WORDS, *words)


def repaint(root, part="train"):
    for path in (root / part / "n0000").iterdir():
        image_trees.picture(5, 1).save(path)


def test_a_finished_run_is_done_for_its_images_alone(root, tmp_path, capsys):
    config = own(root, tmp_path)
    first, folder = execute(config)
    manifest = json.loads((folder / "split.json").read_text())
    assert manifest["classes"] == [f"n{label:04d}" for label in range(8)] and manifest["class_rule"] == "name"
    assert {key: value for key, value in first.settings.items() if key.startswith("dataset.content.")} == {
        f"dataset.content.{part}": value for part, value in manifest["content"].items()
    }
    shutil.copytree(root, tmp_path / "copy")
    carry_out(own(tmp_path / "copy", tmp_path))
    assert "done before" in capsys.readouterr().out
    repaint(root)
    assert execute(config)[0].run_id != first.run_id


@pytest.mark.slow
def test_images_that_are_replaced_between_stop_and_resume_are_another_run(root, tmp_path, monkeypatch):
    config = own(root, tmp_path, "checkpoint.every_steps=1")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 2)
        execute(config)
    begun = {path.name for path in (tmp_path / "runs").iterdir()}
    repaint(root)
    record, folder = execute(config)
    assert not {record.run_id, record.stage_one_id} & begun and record.cost["stage_one_seconds"] > 0


def test_images_that_change_under_a_run_fail_it(root, tmp_path, monkeypatch):
    config = own(root, tmp_path, "checkpoint.every_steps=1")
    monkeypatch.setattr(content, "SOON", 0.0)
    trained = Runner._train
    monkeypatch.setattr(Runner, "_train", lambda *words: (trained(*words), repaint(root))[0])
    with pytest.raises(DataError, match="images changed while the run was reading them"):
        execute(config)
    assert not list((tmp_path / "runs").glob("*/checkpoint*")) and not list((tmp_path / "runs").glob("*/record.json"))


def test_a_class_without_test_images_is_said_beside_the_accuracy(root, tmp_path, capsys):
    shutil.rmtree(root / "test" / "n0003")
    record, folder = execute(own(root, tmp_path))
    assert "lt_bench: note: test: no image of class 3 (n0003)" in capsys.readouterr().err
    assert "no test image of n0003: the accuracies are those of the other classes" in summary(record, folder)


SOURCE = """
import numpy as np
from lt_bench.data.sources.common import ImageArrays
def load(root, download=True):
    pixels = np.load({path!r})
    labels = np.arange(len(pixels)) % 3
    return ImageArrays(pixels, labels, pixels[:6], labels[:6], 3)
"""


@pytest.mark.slow
def test_a_function_that_reads_what_nobody_told_is_noticed(tmp_path, monkeypatch):
    import numpy as np

    pixels = np.random.RandomState(0).randint(0, 255, (30, 3, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "hidden.npy", pixels)
    (tmp_path / "my_hidden_source.py").write_text(SOURCE.format(path=str(tmp_path / "hidden.npy")))
    monkeypatch.syspath_prepend(tmp_path)
    words = (
        "dataset._target_=my_hidden_source.load",
        "dataset.num_classes=3",
        "imbalance=native",
        "trust=[my_hidden_source]",
    )
    config = tiny(tmp_path / "runs", *words, "method=ce", "stage_two=none", "train.batch_size=16")
    record, folder = execute(config)
    assert execute(config)[0] == record
    np.save(tmp_path / "hidden.npy", pixels[::-1])
    for again in (execute, carry_out):
        with pytest.raises(UsageError, match=r"my_hidden_source\.load makes other data than those of the finished run"):
            again(config)
    (folder / "record.json").unlink()
    with pytest.raises(UsageError, match="the split differs .*content"):
        execute(config)

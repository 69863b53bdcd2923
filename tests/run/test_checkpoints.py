"""Stage two takes the checkpoint that stage one's record names and no other; what is damaged is seen or made up for."""

import errno
import json
import re
import shutil

import pytest
from helpers.chain import Killed, assert_identical, execute, kill_after, results, tiny

from lt_bench.engine import checkpoint
from lt_bench.engine.loop import Trainer
from lt_bench.errors import CheckpointError
from lt_bench.record import folder as record_folder
from lt_bench.record.record import read_record

WORDS = ("method=ce", "checkpoint.every_steps=1")


@pytest.fixture
def below(tmp_path):
    """The folder of a finished stage one, with the checkpoint of its first epoch beside it."""
    save, early = Trainer._save, tmp_path / "early.pt"

    def keep(self):
        save(self)
        if self.state.epoch == 1 and not early.exists():
            shutil.copy(self.stage.checkpoint, early)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_save", keep)
        execute(tiny(tmp_path / "runs", *WORDS, "stage_two=cb"), only_stage_one=True)
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def stage_two(below, rule="cb"):
    return execute(tiny(below.parent, *WORDS, f"stage_two={rule}"))


def test_the_record_names_checksum_and_epoch(below):
    named = read_record(below / "record.json").checkpoint
    assert named["epoch"] == json.loads((below / "metrics.jsonl").read_text().splitlines()[-1])["epoch"] + 1
    assert f"sha256:{named['sha256']}".encode() == (below / "checkpoint.pt").read_bytes()[-71:]
    assert not (below / "checkpoint.previous.pt").exists()


def test_an_earlier_checkpoint_is_refused(below):
    shutil.copy(below.parent.parent / "early.pt", below / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"after epoch 1, .* names \(after epoch \d.*delete .* anew"):
        stage_two(below)


def test_and_where_an_older_record_names_none(below):
    record = json.loads((below / "record.json").read_text())
    del record["checkpoint"]
    (below / "record.json").write_text(json.dumps(record))
    shutil.copy(below / "checkpoint.pt", below.parent.parent / "last.pt")
    shutil.copy(below.parent.parent / "early.pt", below / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="after epoch 1"):
        stage_two(below)
    shutil.copy(below.parent.parent / "last.pt", below / "checkpoint.pt")
    assert stage_two(below)


def test_a_checkpoint_of_another_run_is_refused(below):
    stage_two(below)
    other = execute(tiny(below.parent, *WORDS, "seed=5"), only_stage_one=True)[1]
    shutil.copy(other / "checkpoint.pt", below / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="is not the checkpoint that the record"):
        stage_two(below, "lws")


def test_a_damaged_or_missing_one_is_refused(below):
    path = below / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"is damaged.*delete {below} to train stage one anew"):
        stage_two(below)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read.*to train stage one anew"):
        stage_two(below)


def killed(folder, monkeypatch, *words):
    config = tiny(folder, *WORDS, *words)
    with monkeypatch.context() as patch:
        kill_after(patch, 5)
        with pytest.raises(Killed):
            execute(config)
    (path,) = folder.glob("*/checkpoint.pt")
    return config, path


def test_training_goes_on_from_the_last_good_checkpoint(tmp_path, monkeypatch, capsys):
    calm = results(*execute(tiny(tmp_path / "calm", *WORDS)))
    config, path = killed(tmp_path / "shaken", monkeypatch)
    path.write_bytes(path.read_bytes()[:1000])
    shaken = execute(config)
    assert re.search(r"checkpoint.pt is damaged .*going on from the checkpoint before it", capsys.readouterr().err)
    assert_identical(results(*shaken), calm)
    assert not list((tmp_path / "shaken").glob("*/*previous*"))


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError(errno.ENOSPC, "No space left"), ""), (KeyboardInterrupt("No space left"), "checkpoint.pt is not there")],
)
def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(error, said, tmp_path, monkeypatch, capsys):
    """The disk is full, or the process is killed, when the first checkpoint after a damaged one is written."""

    def refuse(*_):
        raise error

    calm = results(*execute(tiny(tmp_path / "calm", *WORDS)))
    config, path = killed(tmp_path / "shaken", monkeypatch)
    path.write_bytes(path.read_bytes()[:1000])
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomic", refuse)
        with pytest.raises(type(error), match="No space left"):
            execute(config)
    capsys.readouterr()
    shaken = execute(config)
    heard = capsys.readouterr().err
    assert said in heard and "is damaged" not in heard
    assert_identical(results(*shaken), calm)


def test_another_runs_checkpoint_does_not_go_on(tmp_path, monkeypatch):
    config, path = killed(tmp_path / "one", monkeypatch)
    _, other = killed(tmp_path / "other", monkeypatch, "seed=3")
    shutil.copy(other, path)
    with pytest.raises(CheckpointError, match=f"it is of {other.parent.name}.*delete it and checkpoint.previous.pt to"):
        execute(config)


@pytest.mark.parametrize("package", ["torch", "torchvision", "pillow"])  # weights, networks, pixels
def test_other_versions_are_said_and_recorded(package, tmp_path, monkeypatch, capsys):
    config, path = killed(tmp_path, monkeypatch)
    now = record_folder.environment()
    monkeypatch.setattr(record_folder, "environment", lambda: {**now, package: "99.0"})
    record, _ = execute(config)
    said = capsys.readouterr().err
    assert f"{package} {now[package]} -> 99.0" in said and f"delete {path.parent} and start anew" in said
    (before,) = read_record(path.parent / "record.json").environment["earlier"]
    assert before == json.loads(json.dumps(now)) and "earlier" not in record.environment

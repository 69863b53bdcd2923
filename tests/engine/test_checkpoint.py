"""Checkpoints: written whole, and read without unpickling anything but tensors and builtins."""

import os
import pickle
import zipfile

import pytest
import torch

from lt_bench.engine import checkpoint
from lt_bench.errors import CheckpointError

CPU = torch.device("cpu")


def test_what_is_saved_comes_back(tmp_path):
    state = {"model": {"w": torch.arange(3.0)}, "position": {"epoch": 2, "best": {}}, "name": "x"}
    checkpoint.save(tmp_path / "c.pt", state)
    loaded = checkpoint.load(tmp_path / "c.pt", CPU)
    assert torch.equal(loaded.pop("model")["w"], torch.arange(3.0))
    assert loaded == {"position": {"epoch": 2, "best": {}}, "name": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named_with_what_to_do(content, tmp_path):
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="c.pt is damaged.*delete it"):
        checkpoint.load(path, CPU)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_code_in_a_checkpoint_is_refused(tmp_path, capsys):
    torch.save({"model": Evil()}, tmp_path / "c.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("c.pt", "raw.pt"):
        with pytest.raises(CheckpointError):
            checkpoint.load(tmp_path / name, CPU)
    assert "executed" not in capsys.readouterr().out


def test_a_pipe_and_an_archive_that_unpacks_too_far_are_no_checkpoints(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match="no regular file"):
        checkpoint.load(tmp_path / "pipe.pt", CPU)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2**27))
    with pytest.raises(CheckpointError, match="unpacks to more than 20 times"):
        checkpoint.load(tmp_path / "bomb.pt", CPU)

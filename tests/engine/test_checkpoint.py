"""Checkpoints: written whole, and read without unpickling anything but tensors and builtins."""

import hashlib
import os
import pickle
import re
import traceback
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
        with pytest.raises(CheckpointError, match="is damaged") as caught:
            checkpoint.load(tmp_path / name, CPU)
        said = "".join(traceback.format_exception(caught.value))
        assert "weights_only" not in said and ("Python objects in it: " in said) == (name == "c.pt")
    assert "executed" not in capsys.readouterr().out


def test_every_flipped_bit_is_seen(tmp_path, capsys):
    path, generator = tmp_path / "c.pt", torch.Generator().manual_seed(0)
    checkpoint.save(path, {"model": {"w": torch.randn(500, generator=generator)}, "position": {"epoch": 2}})
    content, refused = path.read_bytes(), 0
    for _ in range(200):
        place = int(torch.randint(8 * len(content), (), generator=generator))
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = checkpoint.load(path, CPU)
        except CheckpointError as error:
            assert str(error).startswith(f"{path} is damaged (") and str(error).count("\n") == 0
            refused += 1
        else:  # a bit of the checksum's own name: without it, the archive's checksums count
            assert torch.equal(found["model"]["w"], torch.load(path, weights_only=True)["model"]["w"])
            assert place // 8 >= len(content) - 71
    with capsys.disabled():
        print(f"\n200 flipped bits: {refused} refused, {200 - refused} without effect, 0 silent differences")
    assert refused > 190


def test_without_a_seal_the_archives_own_checksums_count(tmp_path):
    path = tmp_path / "c.pt"
    torch.save({"w": torch.ones(300)}, path)
    assert checkpoint.digest(path) is None and torch.equal(checkpoint.load(path, CPU)["w"], torch.ones(300))
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        weights = archive.infolist().index(next(one for one in archive.infolist() if one.filename.endswith("data/0")))
    entry = [found.start() for found in re.finditer(b"PK\x01\x02", content)][weights]
    weight = content.find(b"\x00\x00\x80\x3f" * 4) + 2
    # a weight; the entry of the weights as one that is compressed, and as a folder, of which PyTorch reads nothing
    for place, bit in ((weight, 1), (entry + 10, 8), (entry + 38, 0x10)):
        flipped = bytearray(content)
        flipped[place] ^= bit
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="is damaged"):
            checkpoint.load(path, CPU)


def test_another_file_of_pytorch_is_no_checkpoint(tmp_path):
    torch.save(torch.ones(3), tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="is damaged .no dictionary, but Tensor"):
        checkpoint.load(tmp_path / "c.pt", CPU)


def test_a_full_memory_is_no_damage(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "c.pt", {"epoch": 1})
    checkpoint.save(tmp_path / "c.pt", {"epoch": 2})

    def full(*_, **__):
        raise torch.OutOfMemoryError("no memory is left")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(torch.OutOfMemoryError):
        checkpoint.load_last_good(tmp_path / "c.pt", CPU)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_a_sound_checkpoint_without_memory_for_it_is_not_called_damaged(error, tmp_path, monkeypatch):
    def full(*_, **__):
        raise error

    for epoch in (1, 2):
        checkpoint.save(tmp_path / "c.pt", {"epoch": epoch})
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(RuntimeError, match="memory"):
        checkpoint.load_last_good(tmp_path / "c.pt", CPU)


def test_an_archive_of_another_compression_is_damaged(tmp_path):
    path = tmp_path / "c.pt"
    torch.save({"w": torch.ones(3)}, path)
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\x01\x02") + 10] = zipfile.ZIP_DEFLATED
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(path, CPU)


def test_the_seal_is_that_of_the_file_and_torch_reads_it(tmp_path):
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"w": torch.ones(3)})
    digest = checkpoint.digest(path)
    assert digest == hashlib.sha256(path.read_bytes()[:-71]).hexdigest()
    assert torch.equal(torch.load(path, weights_only=True)["w"], torch.ones(3))
    assert zipfile.ZipFile(path).comment == f"sha256:{digest}".encode()


def test_the_last_good_checkpoint_is_used_with_a_word(tmp_path):
    path = tmp_path / "c.pt"
    assert checkpoint.load_last_good(path, CPU) == (None, None)
    for epoch in (1, 2, 3):
        checkpoint.save(path, {"epoch": epoch})
    assert checkpoint.load_last_good(path, CPU) == ({"epoch": 3}, None)
    path.write_bytes(path.read_bytes()[:-200])
    state, warning = checkpoint.load_last_good(path, CPU)
    assert state == {"epoch": 2} and warning.endswith("going on from the checkpoint before it")
    assert "delete it and c.previous.pt to start anew" in warning
    path.unlink()  # a kill between the two renames, or somebody who wants to start anew
    state, warning = checkpoint.load_last_good(path, CPU)
    assert state == {"epoch": 2} and "c.pt is not there; delete c.previous.pt to start anew; going on" in warning
    checkpoint.previous(path).write_bytes(b"")
    with pytest.raises(CheckpointError, match="previous.pt is damaged"):
        checkpoint.load_last_good(path, CPU)


def test_a_pipe_and_an_archive_that_unpacks_too_far_are_no_checkpoints(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match="no regular file"):
        checkpoint.load(tmp_path / "pipe.pt", CPU)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2**27))
    with pytest.raises(CheckpointError, match="unpacks to more than 20 times"):
        checkpoint.load(tmp_path / "bomb.pt", CPU)

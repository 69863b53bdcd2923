"""What a file is that is no file of weights: one clear line for each kind, before PyTorch and while a run reads it."""

import io
import json
import os
import pickle
import socket
import tarfile
import zipfile
from argparse import Namespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lt_bench.config.compose import compose
from lt_bench.errors import SettingError, UsageError
from lt_bench.models import weight_files
from lt_bench.models.pretrained import load_pretrained
from lt_bench.models.tiny import TinyEncoder
from lt_bench.models.weight_files import located, objects_in, refusal, shown_names
from lt_bench.preflight.validate import validate

SAVED = io.BytesIO()
torch.save(TinyEncoder().state_dict(), SAVED)
SAVED = SAVED.getvalue()


def archive(**content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name, text in content.items():
            made.writestr(name.replace("__", "/"), text)
    return packed.getvalue()


def arrays(save):
    packed = io.BytesIO()
    save(packed, np.zeros(3))
    return packed.getvalue()


def tar():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        made.addfile(tarfile.TarInfo("weights.pth"))
    return packed.getvalue()


# Name and content of a file that is no weights, and what is said of it.
FILES = {
    "empty": ("w.pth", b"", "empty; copy or download it anew"),
    "web page": ("w.pth", b"<!DOCTYPE html><html>sign in first</html>", "a web page"),
    "web page after blanks": ("w.safetensors", b"\xef\xbb\xbf\r\n  <html>" + b" " * 600, "a web page"),
    "web page in UTF-16": ("w.pth", "<html></html>".encode("utf-16"), "a web page"),
    "web page in Latin 1": ("w.pth", "<html>é</html>".encode("latin-1"), "a web page"),
    "refusal of a store": ("w.pth", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "text in tags"),
    "pointer": ("w.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "run git lfs pull"),
    "index": ("w.safetensors", json.dumps({"weight_map": {}}).encode(), "a JSON text"),
    "text": ("w.pth", b"404: not found", "a text"),
    "text of umlauts": ("w.pth", ("ä" * 600).encode()[:-1], "a text"),
    "npz": ("w.npz", arrays(np.savez), r"arrays of NumPy \(\.npz\)"),
    "npy": ("w.pth", arrays(np.save), "an array of NumPy"),
    "pickle": ("w.pkl", pickle.dumps({"model": {}}, protocol=2), "a pickle that torch.save has not made"),
    "newer pickle": ("w.pth", pickle.dumps({"model": {}}, protocol=4), "a pickle that torch.save has not made"),
    "program": ("w.pt", archive(**{"w__data.pkl": "", "w__code__w.py": "", "w__constants.pkl": ""}), "TorchScript"),
    "zip": ("w.zip", archive(**{"weights.pth": SAVED}), "an archive .* of other files"),
    "empty zip": ("w.zip", b"PK\x05\x06" + bytes(18), "neither a file of torch.save"),
    "cut archive": ("w.pth", SAVED[:-50], "incomplete"),
    "half an archive": ("w.pth", SAVED[: len(SAVED) // 2], "incomplete"),
    "gzip": ("w.pth.gz", b"\x1f\x8b\x08" + bytes(20), "a compressed archive; unpack it"),
    "tar": ("w.pth.tar", tar(), "a compressed archive; unpack it"),
    "HDF5": ("w.h5", b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
    "TensorFlow data": ("model.ckpt-100.data-00000-of-00001", b"\x12\x34" * 50, "TensorFlow"),
    "TensorFlow index": ("w", b"\x00\x01" * 50 + weight_files.TABLE, "TensorFlow"),
    "TensorFlow list": ("checkpoint", b'model_checkpoint_path: "model.ckpt-100"\n', "TensorFlow"),
    "TensorFlow graph": ("saved_model.pb", b"\x08\x01\x12", "TensorFlow"),
    "noise": ("w.pth", b"\x93\x01\xff" * 40, "neither a file of torch.save"),
    "zeros": ("w.pth", bytes(4096), "neither a file of torch.save"),
    "no header": ("w.safetensors", b"\x93\x01\xff" * 40, "no whole file of safetensors"),
    "a header too long": ("w.safetensors", (10**12).to_bytes(8, "little") + b"{}", "no whole file of safetensors"),
    "an odd header": ("w.safetensors", (2).to_bytes(8, "little") + b"[]", "no whole file of safetensors"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_a_file_is_is_said(kind, tmp_path):
    name, content, said = FILES[kind]
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, said)


def assert_refused(path, said):
    """In one line, with the file and what to type, by the preflight and by a run that reads the file all the same."""
    with pytest.raises(UsageError, match=said) as before:
        validate(compose([f"backbone.pretrained='{path}'"]))
    with pytest.raises(SettingError, match=said) as inside:
        load_pretrained(TinyEncoder(), str(path), "tiny")
    for error in (before.value, inside.value.under("backbone")):
        text = str(error)
        assert "\n" not in text and str(path) in text and text.endswith("; set backbone.pretrained=FILE")
        assert "weights_only" not in text and "pickle.load" not in text


# What begins as safetensors do and is damaged further on: found when it is read.
HEADERS = {
    "no JSON": b"{]",
    "no tensors": b'{"a": 3}',
    "no such kind": b'{"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}',
    "more than there is": b'{"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}',
    "another length": b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
    "overflow": b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 4]}}',
    "no text": b'{"\xff": 3}',
}


@pytest.mark.parametrize("kind", HEADERS)
def test_an_odd_header_of_safetensors(kind, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(HEADERS[kind]).to_bytes(8, "little") + HEADERS[kind] + bytes(4))
    assert refusal(path) is None
    with pytest.raises(SettingError, match="this one: damaged, or too large for the memory; copy or download it anew"):
        load_pretrained(TinyEncoder(), str(path), "tiny")


def test_what_a_file_is_tells_its_content_and_not_its_suffix(tmp_path):
    whole = TinyEncoder()
    for name, write in (("w.safetensors", torch.save), ("w.pth", save_file)):
        write(whole.state_dict(), tmp_path / name)
        network = TinyEncoder()
        load_pretrained(network, str(tmp_path / name), "tiny")
        assert all(torch.equal(*pair) for pair in zip(network.parameters(), whole.parameters(), strict=True))


def test_what_is_no_file_is_said(tmp_path):
    assert_refused(tmp_path / "none.pth", "no such file")
    assert_refused(tmp_path / "none.pth" / "w.pth", "no such file")
    (tmp_path / "link.pth").symlink_to("gone")
    assert_refused(tmp_path / "link.pth", "a link to a file that is gone")
    (tmp_path / "folder").mkdir()
    assert_refused(tmp_path / "folder", "a folder; name the file in it")
    (tmp_path / "folder" / "model.safetensors").touch()
    assert_refused(tmp_path / "folder", r"a folder; name the file in it, such as model\.safetensors")
    (tmp_path / "folder" / "w.pth").touch()
    assert_refused(tmp_path / "folder" / "w.pth" / "w.pth", "not readable .Not a directory.")
    os.mkfifo(tmp_path / "pipe.pth")
    assert_refused(tmp_path / "pipe.pth", "no regular file, but a pipe or a device")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tmp_path / "s.pth"))
        assert_refused(tmp_path / "s.pth", "not readable")
    assert_refused(tmp_path / ("w" * 300), "not readable .File name too long.")


def test_a_file_that_may_not_be_read_is_said(tmp_path, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(weight_files, "open_regular", closed)
    assert_refused(tmp_path / "w.pth", r"not readable \(Permission denied\); let its owner run chmod \+r on it")


def test_names_that_no_file_has():
    assert refusal(located("\0")) == "no name of a file"
    assert str(located("~nobody of this name/w.pth")) == "~nobody of this name/w.pth"
    assert located("~/w.pth") == located(os.path.expanduser("~/w.pth"))


class Meant:
    """As pickled by protocol 4, whose names of classes are texts on a stack."""


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("newer", [False, True], ids=["legacy", "zip"])
def test_another_protocol_is_said_and_no_name_of_a_tensor_taken_for_an_object(newer, protocol, tmp_path):
    path, state = tmp_path / "w.pth", TinyEncoder().state_dict()
    torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=newer)
    if newer and protocol == 3:  # which PyTorch reads
        assert load_pretrained(TinyEncoder(), str(path), "tiny").tensors == 15
    else:
        with pytest.raises(SettingError, match="this one: saved with another pickle_protocol than 2"):
            load_pretrained(TinyEncoder(), str(path), "tiny")
    if newer:
        torch.save({"args": Namespace(), "more": [Namespace()], "model": state}, path, pickle_protocol=protocol)
        with pytest.raises(SettingError, match=r"this one: with Python objects in it \(argparse\.Namespace\)"):
            load_pretrained(TinyEncoder(), str(path), "tiny")


@pytest.mark.parametrize("protocol", [2, 4])
def test_objects_are_found_without_being_made(protocol):
    content = archive(w__data__0="", **{"w__data.pkl": pickle.dumps({"a": Meant()}, protocol)})
    assert objects_in(io.BytesIO(content)) == f"{__name__}.Meant"
    assert objects_in(io.BytesIO(SAVED)) == objects_in(io.BytesIO(SAVED[:500])) == objects_in(io.BytesIO()) == ""


def test_names_of_a_file_do_no_harm_to_a_line():
    assert shown_names(["a\nb\x1b[31m", "c" * 300]) == rf"a\nb\x1b[31m, {'c' * 60}...{'c' * 30}"
    assert shown_names(list("abcdefg")) == "a, b, c, d, e, ..."

"""Pickles that hold arrays are read, all others are refused before anything happens."""

import os
import pickle

import numpy as np
import pytest

from lt_bench.data.sources.restricted_pickle import load_arrays


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("dtype", ["u1", "<i8", "<f4"])
def test_arrays_and_builtins_are_read(protocol, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    if protocol == 5:
        array = np.asfortranarray(array)[:, ::2]  # not contiguous: the form that every protocol writes alike
    content = {"data": array, "labels": [1, 2, 3], "label": "batch", "raw": b"\xff"}
    result = load_arrays(pickle.dumps(content, protocol=protocol))
    np.testing.assert_array_equal(result["data"], array)
    assert result["data"].dtype == array.dtype
    for key in ("labels", "label", "raw"):
        assert result[key] == content[key]


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch attacked",), "posix.system"),
        (open, ("attacked", "w"), "open"),
        (eval, ("1",), "eval"),
        (getattr, ("", "upper"), "getattr"),
        (np.save, ("attacked", 1), "numpy.save"),
        (np.frombuffer, (b"1",), "frombuffer"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_everything_else_is_refused(tmp_path, monkeypatch, function, arguments, name, protocol):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"data": np.zeros(2), "labels": [Evil(function, *arguments)]}, protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="is not allowed in a file of arrays"):
        load_arrays(data)
    data = pickle.dumps([Evil(function, *arguments)], protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match=f"{name}.* is not allowed"):
        load_arrays(data)
    assert list(tmp_path.iterdir()) == []


def test_the_attack_would_work_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Evil(open, "attacked", "w"))).close()
    assert [path.name for path in tmp_path.iterdir()] == ["attacked"]

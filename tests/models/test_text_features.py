"""Files of text features: what is no such file, or one of another network, is refused with the reason."""

import numpy as np
import pytest
import torch

from lt_bench.errors import DataError
from lt_bench.models.text_features import semantic_rows, text_rows

NAMES = ["great white shark", "ox"]
GOOD = {"names": NAMES, "features": np.eye(2, 3, dtype=np.float32), "projection": np.ones((4, 3), np.float32)}


def rows(folder, classes=("ox", "great_white_shark"), **arrays):
    np.savez(folder / "text.npz", **{**GOOD, **arrays})
    return text_rows(str(folder / "text.npz"), classes, 2, 4)


def test_rows_stand_in_the_order_of_the_classes(tmp_path):
    expected = semantic_rows(torch.eye(2, 3), torch.ones(4, 3))
    assert torch.equal(rows(tmp_path), expected[[1, 0]])
    assert torch.equal(rows(tmp_path, features=np.eye(2, 3, dtype=">f2")), expected[[1, 0]])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"projection": np.ones((5, 3), np.float32)}, "is of a network of 5 features, and the one here has 4"),
        ({"features": np.ones((2, 2), np.float32)}, r"features \(2, 2\) do not fit 2 names and \(4, 3\)"),
        ({"features": np.full((2, 3), np.nan, np.float32)}, "features holds other things than finite numbers"),
        ({"projection": np.full((4, 3), np.inf, np.float32)}, "projection holds other things than finite numbers"),
        ({"features": np.array([["a", "b", "c"]] * 2)}, "features holds other things than finite numbers"),
        ({"features": np.ones((2, 3), complex)}, "features holds other things than finite numbers"),
        ({"names": "ox"}, "names is no list of words"),
        ({"names": [1, 2]}, "names is no list of words"),
        ({"names": ["ox", "ox"]}, "has no features of great_white_shark"),
    ],
)
def test_what_is_no_such_file_is_refused(arrays, said, tmp_path):
    with pytest.raises(DataError, match=said):
        rows(tmp_path, **arrays)


def test_a_plain_array_and_a_list_of_numbers_are_no_such_file(tmp_path):
    np.save(tmp_path / "text.npy", np.ones((2, 3)))
    with pytest.raises(DataError, match="is no file of text features"):
        text_rows(str(tmp_path / "text.npy"), ["ox"], 1, 3)

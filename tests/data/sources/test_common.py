"""Downloads and the errors that say what to do."""

from pathlib import Path

import numpy as np
import pytest

from lt_bench.data.sources.common import data_error, fetch, grey_to_rgb, verify
from lt_bench.errors import DataError

URL = "https://example.org/data.bin"
DOWNLOAD = "torchvision.datasets.utils.download_url"


def test_a_download_gets_its_name_when_it_is_complete(tmp_path, monkeypatch):
    def download(url, root, filename, md5):
        assert (url, filename, md5) == (URL, "data.bin", "abc")
        assert Path(root).resolve() != (tmp_path / "new").resolve()
        (Path(root) / filename).write_bytes(b"whole")

    monkeypatch.setattr(DOWNLOAD, download)
    fetch(URL, tmp_path / "new" / "data.bin", "abc")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.bin"]
    assert (tmp_path / "new" / "data.bin").read_bytes() == b"whole"


@pytest.mark.parametrize("failure", [OSError("offline"), RuntimeError("File not found or corrupted.")])
def test_a_failed_download_leaves_nothing_and_says_what_to_do(tmp_path, monkeypatch, failure):
    def download(url, root, filename, md5):
        (Path(root) / filename).write_bytes(b"half")
        raise failure

    monkeypatch.setattr(DOWNLOAD, download)
    path = tmp_path / "data.bin"
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        fetch(URL, path, "abc")
    assert list(tmp_path.iterdir()) == []
    for hint in (str(failure), URL, str(path), "dataset.root=DIR", "data_dir=DIR"):
        assert hint in str(caught.value)


def test_a_folder_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch(URL, tmp_path / "file" / "data.bin", "abc")


def test_hints_name_the_absolute_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path.resolve() / "data" / "x.gz") in str(data_error("gone", URL, Path("data/x.gz")))


def test_digests_are_verified():
    verify(b"abc", "md5", "900150983cd24fb0d6963f7d28e17f72")
    with pytest.raises(ValueError, match="md5 is 900150983cd24fb0d6963f7d28e17f72, expected 00"):
        verify(b"abc", "md5", "00")


def test_grey_is_repeated_in_every_channel():
    grey = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    rgb = grey_to_rgb(grey)
    assert rgb.shape == (2, 3, 2, 2) and rgb.flags.writeable
    for channel in range(3):
        np.testing.assert_array_equal(rgb[:, channel], grey)

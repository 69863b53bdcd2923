"""Fashion-MNIST: idx files, their checksums and places."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from lt_bench.data.sources import fashion_mnist
from lt_bench.data.sources.fashion_mnist import DEBIAN_FOLDER, IdxFile, parse_idx
from lt_bench.errors import DataError

RANDOM = np.random.RandomState(0)
CONTENT = {
    "train-images-idx3-ubyte": RANDOM.randint(0, 256, (6, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": np.array([0, 9, 3, 3, 1, 2], dtype=np.uint8),
    "t10k-images-idx3-ubyte": RANDOM.randint(0, 256, (2, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": np.array([4, 5], dtype=np.uint8),
}
NAMES = list(CONTENT)


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(autouse=True)
def small_files(monkeypatch, tmp_path):
    """The checksums of the small files above, and no system folder."""
    files = tuple(IdxFile(name, hashlib.sha256(idx(array)).hexdigest(), "md5") for name, array in CONTENT.items())
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")


def write(folder, names=NAMES, compress=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        data = idx(CONTENT[name])
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(data) if compress else data)


@pytest.mark.parametrize("place", ["root", "root/FashionMNIST/raw", "debian"])
@pytest.mark.parametrize("compress", [False, True])
def test_files_are_found_plain_or_compressed_in_every_place(tmp_path, place, compress):
    write(tmp_path / place, compress=compress)
    arrays = fashion_mnist.load(tmp_path / "root", download=False)
    for images, name in ((arrays.train_images, NAMES[0]), (arrays.test_images, NAMES[2])):
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, np.stack([CONTENT[name]] * 3, axis=1))
    for labels, name in ((arrays.train_labels, NAMES[1]), (arrays.test_labels, NAMES[3])):
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, CONTENT[name])
    assert arrays.num_classes == 10


def test_a_missing_file_is_fetched_into_the_root(tmp_path, monkeypatch):
    write(tmp_path, NAMES[1:])

    def fetch(url, path, md5):
        assert (url, md5) == (f"{fashion_mnist.URL}{NAMES[0]}.gz", "md5")
        write(path.parent, NAMES[:1], compress=True)

    monkeypatch.setattr(fashion_mnist, "fetch", fetch)
    assert len(fashion_mnist.load(tmp_path).train_images) == 6


def test_without_download_a_missing_file_says_where_it_goes(tmp_path):
    write(tmp_path, NAMES[:3])
    with pytest.raises(DataError, match="no t10k-labels-idx1-ubyte") as caught:
        fashion_mnist.load(tmp_path, download=False)
    for hint in (f"{fashion_mnist.URL}{NAMES[3]}.gz", str(tmp_path / f"{NAMES[3]}.gz"), "dataset.root=DIR"):
        assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (NAMES[0], idx(CONTENT[NAMES[0]])[:-1], "sha256 is"),
        (NAMES[2] + ".gz", gzip.compress(idx(CONTENT[NAMES[2]]), mtime=0)[:-9], "ended before"),
        (NAMES[2] + ".gz", b"no archive at all", "[Nn]ot a gzipped file"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, problem):
    write(tmp_path, [other for other in NAMES if other != name.removesuffix(".gz")])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        fashion_mnist.load(tmp_path, download=False)
    assert str(tmp_path / name) in str(caught.value) and "dataset.root=DIR" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "starts with nothing"),
        (b"\x1f\x8b\x08\x08", "starts with 1f8b0808, expected 0000"),
        (b"\0\0\x0d\x01" + struct.pack(">I", 1) + bytes(4), "idx type is 0x0d"),
        (b"\0\0\x08\x03" + struct.pack(">II", 1, 1), "header is cut off: 12 bytes, expected 16"),
        (b"\0\0\x08\x01" + struct.pack(">I", 3) + b"ab", "holds 2 values, expected 3"),
        (b"\0\0\x08\x01" + struct.pack(">I", 3) + b"abcd", "holds 4 values, expected 3"),
        (b"\0\0\x08\x02" + struct.pack(">II", 2**32 - 1, 2**32 - 1), "holds 0 values"),
    ],
)
def test_malformed_idx_is_refused(data, problem):
    with pytest.raises(ValueError, match=problem):
        parse_idx(data)


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_debians_files_are_the_published_data_set(monkeypatch, tmp_path):
    monkeypatch.undo()
    arrays = fashion_mnist.load(tmp_path, download=False)
    assert arrays.train_images.shape == (60_000, 3, 28, 28)
    assert arrays.test_images.shape == (10_000, 3, 28, 28)
    assert np.bincount(arrays.train_labels).tolist() == [6000] * 10
    assert np.bincount(arrays.test_labels).tolist() == [1000] * 10
    # the mean and deviation that are used everywhere for this data set
    assert arrays.train_images[:, 0].mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert arrays.train_images[:, 0].std() / 255 == pytest.approx(0.3530, abs=5e-5)
    assert arrays.train_labels[:8].tolist() == [9, 0, 0, 3, 0, 2, 7, 2]


def test_a_file_that_unpacks_to_more_than_any_of_the_data_set_is_not_read_on(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "SMALL", 2**16)
    (tmp_path / f"{fashion_mnist.FILES[0].name}.gz").write_bytes(gzip.compress(bytes(2**20)))
    with pytest.raises(DataError, match="unpacks to more than 65,536 bytes"):
        fashion_mnist.load(tmp_path, download=False)

"""CIFAR archives: small ones written the way Python 2 wrote the published ones."""

import hashlib
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from lt_bench.data.sources import cifar
from lt_bench.data.sources.cifar import CIFAR10, CIFAR100, Archive, load_archive
from lt_bench.errors import DataError

RANDOM = np.random.RandomState(0)
FOLDER = "toy-batches-py"


def python2_text(data):
    return b"T" + struct.pack("<i", len(data)) + data


def python2_pickle(images, labels, label_key):
    """{'data': images, label_key: labels}, protocol 2 of Python 2: byte strings, numpy 1 module names."""
    rows, columns = images.shape
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"J" + struct.pack("<i", rows) + b"J" + struct.pack("<i", columns) + b"\x86"
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array = start + b"(K\x01" + shape + dtype + b"\x89" + python2_text(images.tobytes()) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + python2_text(b"data") + array + python2_text(label_key.encode()) + numbers + b"u."


def batch(labels, label_key="labels"):
    images = RANDOM.randint(0, 256, (len(labels), 3072), dtype=np.uint8)
    return images, python2_pickle(images, labels, label_key)


TRAIN_LABELS = {"data_batch_1": [3, 0, 1], "data_batch_2": [2, 2]}
CONTENT = {name: batch(labels) for name, labels in (TRAIN_LABELS | {"test_batch": [1, 3]}).items()}
MEMBERS = {name: data for name, (_, data) in CONTENT.items()}


def toy(members=MEMBERS, label_key="labels", num_classes=4):
    digests = {name: hashlib.md5(data).hexdigest() for name, data in members.items()}
    test = {"test_batch": digests.pop("test_batch")}
    return Archive("https://example.org/toy.tar.gz", "archive-md5", FOLDER, digests, test, label_key, num_classes)


def write_folder(root, members=MEMBERS):
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, data in members.items():
        (root / FOLDER / name).write_bytes(data)


def write_tar(root, members=MEMBERS):
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / "toy.tar.gz", "w:gz") as archive:
        for name, data in [*members.items(), ("readme.html", b"<html>"), ("../outside", b"!")]:
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("write", [write_folder, write_tar])
def test_folder_and_archive_give_the_images_in_order(tmp_path, write):
    root = tmp_path / "root"
    write(root)
    before = sorted(tmp_path.rglob("*"))
    arrays = load_archive(root, toy(), download=False)
    images = np.concatenate([CONTENT[name][0] for name in TRAIN_LABELS]).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(arrays.train_images, images)
    np.testing.assert_array_equal(arrays.test_images, CONTENT["test_batch"][0].reshape(-1, 3, 32, 32))
    assert arrays.train_labels.tolist() == [3, 0, 1, 2, 2]
    assert arrays.test_labels.tolist() == [1, 3]
    assert arrays.train_labels.dtype == np.int64 and arrays.train_images.dtype == np.uint8
    assert arrays.num_classes == 4
    assert sorted(tmp_path.rglob("*")) == before, "nothing is extracted"


def test_fine_labels_are_chosen_by_their_key(tmp_path):
    members = {name: batch([1, 99], "fine_labels")[1] for name in ("train", "test_batch")}
    write_folder(tmp_path, members)
    assert load_archive(tmp_path, toy(members, "fine_labels", 100), download=False).train_labels.tolist() == [1, 99]


def test_a_missing_archive_is_fetched(tmp_path, monkeypatch):
    def fetch(url, path, md5):
        assert (url, path, md5) == (toy().url, tmp_path / "toy.tar.gz", "archive-md5")
        write_tar(tmp_path)

    monkeypatch.setattr(cifar, "fetch", fetch)
    (tmp_path / FOLDER).mkdir()  # a folder that was not extracted to the end does not count
    assert len(load_archive(tmp_path, toy(), download=True).train_labels) == 5


def test_without_download_a_missing_archive_says_where_it_goes(tmp_path):
    with pytest.raises(DataError, match="neither toy.tar.gz nor a complete toy-batches-py") as caught:
        load_archive(tmp_path, toy(), download=False)
    for hint in (toy().url, str(tmp_path / "toy.tar.gz"), "dataset.root=DIR", "data_dir=DIR"):
        assert hint in str(caught.value)


@pytest.mark.parametrize("write", [write_folder, write_tar])
def test_a_wrong_checksum_is_refused_before_decoding(tmp_path, write):
    write(tmp_path, MEMBERS | {"data_batch_2": b"cos\nsystem\n(S'touch attacked'\ntR."})
    with pytest.raises(DataError, match="md5 is .* expected") as caught:
        load_archive(tmp_path, toy(), download=False)
    assert "attacked" not in os.listdir()
    assert str(tmp_path) in str(caught.value) and "dataset.root=DIR" in str(caught.value)


def test_a_malicious_pickle_is_refused_even_with_its_checksum(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    members = MEMBERS | {"data_batch_2": b"cos\nsystem\n(S'touch attacked'\ntR."}
    write_folder(tmp_path, members)
    with pytest.raises(DataError, match="os.system is not allowed"):
        load_archive(tmp_path, toy(members), download=False)
    assert "attacked" not in os.listdir()


@pytest.mark.parametrize("keep", [0, 10, 200, 9000])
def test_an_archive_that_is_cut_off_is_a_data_error(tmp_path, keep):
    write_tar(tmp_path)
    path = tmp_path / "toy.tar.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="toy.tar.gz cannot be used"):
        load_archive(tmp_path, toy(), download=False)


def test_an_archive_without_a_member_names_it(tmp_path):
    write_tar(tmp_path, {name: data for name, data in MEMBERS.items() if name != "data_batch_2"})
    with pytest.raises(DataError, match="no data_batch_2 in it"):
        load_archive(tmp_path, toy(), download=False)


def test_links_inside_an_archive_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "toy.tar.gz", "w:gz") as archive:
        for name in MEMBERS:
            link = tarfile.TarInfo(f"{FOLDER}/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(link)
    with pytest.raises(DataError, match="no data_batch_1, data_batch_2, test_batch in it"):
        load_archive(tmp_path, toy(), download=False)


IMAGES = np.zeros((2, 3072), dtype=np.uint8)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ([1, 2], "no table with the keys data and labels"),
        ({"data": IMAGES, "coarse_labels": [0, 1]}, "no table with the keys data and labels"),
        ({"data": IMAGES, "labels": [0]}, r"images are not uint8 of shape \(1, 3072\)"),
        ({"data": IMAGES[:, 1:], "labels": [0, 1]}, r"images are not uint8 of shape \(2, 3072\)"),
        ({"data": IMAGES.astype(np.float32), "labels": [0, 1]}, "images are not uint8"),
        ({"data": IMAGES.tolist(), "labels": [0, 1]}, "images are not uint8"),
        ({"data": IMAGES, "labels": [0, 4]}, r"labels are not a list of integers in 0 \.\. 3"),
        ({"data": IMAGES, "labels": [-1, 0]}, r"labels are not a list of integers in 0 \.\. 3"),
        ({"data": IMAGES, "labels": [0.0, 1.0]}, "labels are not a list of integers"),
        ({"data": IMAGES[:0], "labels": []}, "labels are not a list of integers"),
        ({"data": IMAGES, "labels": 3}, "labels are not a list of integers"),
    ],
)
def test_unexpected_content_is_refused(tmp_path, entry, problem):
    members = MEMBERS | {"test_batch": pickle.dumps(entry, protocol=4)}
    write_folder(tmp_path, members)
    with pytest.raises(DataError, match=problem):
        load_archive(tmp_path, toy(members), download=False)


@pytest.mark.parametrize(("archive", "reference"), [(CIFAR10, "CIFAR10"), (CIFAR100, "CIFAR100")])
def test_addresses_and_checksums_are_torchvisions(archive, reference):
    expected = getattr(pytest.importorskip("torchvision.datasets"), reference)
    assert (archive.url, archive.md5, archive.folder) == (expected.url, expected.tgz_md5, expected.base_folder)
    assert list(archive.train.items()) == [tuple(pair) for pair in expected.train_list]
    assert list(archive.test.items()) == [tuple(pair) for pair in expected.test_list]


@pytest.mark.parametrize(("load", "name"), [(cifar.load_cifar10, "cifar-10"), (cifar.load_cifar100, "cifar-100")])
def test_both_data_sets_name_their_own_archive(tmp_path, load, name):
    with pytest.raises(DataError, match=f"{name}-python.tar.gz"):
        load(tmp_path, download=False)


def test_an_archive_that_unpacks_to_more_than_the_data_set_has_is_not_read_on(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "MOST", 2**16)
    path = tmp_path / CIFAR10.url.rpartition("/")[2]
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("zeros")
        entry.size = 2**22
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    assert path.stat().st_size < 2**16
    with pytest.raises(DataError, match="unpacks to more than the data set has"):
        load_archive(tmp_path, CIFAR10, download=False)

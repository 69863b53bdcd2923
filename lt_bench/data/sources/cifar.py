"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 32 x 32, from the Python archives."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources.common import ImageArrays, data_error, fetch, verify
from lt_bench.data.sources.restricted_pickle import load_arrays
from lt_bench.files import read_bytes

MOST = 2**28  # bytes of an archive, packed and unpacked: CIFAR-100 has 186 MB


class Archive(NamedTuple):
    """An archive: its address, MD5 and folder, the members with their MD5, the key of the labels, the classes."""

    url: str
    md5: str
    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    label_key: str
    num_classes: int
    classes: Sequence[str] = ()


# MD5 as in torchvision
CIFAR10 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    label_key="labels",
    num_classes=10,
    classes="airplane automobile bird cat deer dog frog horse ship truck".split(),
)
CIFAR100 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    label_key="fine_labels",
    num_classes=100,
    classes="""
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split(),
)


def load_cifar10(root: Path, download: bool = True) -> ImageArrays:
    """CIFAR-10, images (N, 3, 32, 32), from the archive or the extracted folder in ``root``; see ``load_archive``."""
    return load_archive(root, CIFAR10, download)


def load_cifar100(root: Path, download: bool = True) -> ImageArrays:
    """CIFAR-100 with its 100 fine labels, images (N, 3, 32, 32); otherwise as ``load_cifar10``."""
    return load_archive(root, CIFAR100, download)


def load_archive(root: Path, archive: Archive, download: bool) -> ImageArrays:
    """The data set in ``root``, extracted or as .tar.gz; fetched there if missing and ``download`` allows it.

    An archive is read in memory and never extracted; every member's MD5 is verified before it is decoded.
    Raises DataError for files that are missing, damaged or not what they should be.
    """
    folder, path = root / archive.folder, root / archive.url.rpartition("/")[2]
    digests = {**archive.train, **archive.test}
    extracted = all((folder / name).is_file() for name in digests)
    if not extracted and not path.is_file():
        if not download:
            raise data_error(f"neither {path.name} nor a complete {folder.name} in {root}", archive.url, path)
        fetch(archive.url, path, archive.md5)
    try:
        members = _read_folder(folder, digests) if extracted else _read_tar(path, archive.folder, digests)
        for name, digest in digests.items():
            verify(members[name], "md5", digest)
        train_images, train_labels = _decode((members[name] for name in archive.train), archive)
        test_images, test_labels = _decode((members[name] for name in archive.test), archive)
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, pickle.UnpicklingError) as error:
        raise data_error(f"{folder if extracted else path} cannot be used ({error})", archive.url, path) from error
    return ImageArrays(
        train_images, train_labels, test_images, test_labels, archive.num_classes, [*archive.classes] or None
    )


def _read_folder(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: read_bytes(folder / name, MOST) for name in names}


def _read_tar(path: Path, folder: str, names: Iterable[str]) -> dict[str, bytes]:
    wanted = {f"{folder}/{name}": name for name in names}
    members = {}
    limited = io.BufferedReader(_Limited(gzip.GzipFile(fileobj=io.BytesIO(read_bytes(path, MOST))), MOST))
    with tarfile.open(fileobj=limited, mode="r|") as stream:  # one pass, in memory
        for entry in stream:
            file = stream.extractfile(entry) if entry.isfile() and entry.name in wanted else None
            if file is not None:
                members[wanted[entry.name]] = file.read()
    if missing := wanted.values() - members.keys():
        raise ValueError(f"no {', '.join(sorted(missing))} in it")
    return members


class _Limited(io.RawIOBase):
    """What a stream unpacks to, up to a number of bytes; ValueError beyond."""

    def __init__(self, stream: gzip.GzipFile, most: int) -> None:
        self.stream, self.left = stream, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self.stream.read(len(buffer))
        self.left -= len(block)
        if self.left < 0:
            raise ValueError("it unpacks to more than the data set has")
        buffer[: len(block)] = block
        return len(block)


def _decode(pickles: Iterable[bytes], archive: Archive) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = zip(*(_decode_one(data, archive) for data in pickles), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _decode_one(data: bytes, archive: Archive) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    entry = load_arrays(data)
    if not isinstance(entry, dict) or not {"data", archive.label_key} <= entry.keys():
        raise ValueError(f"no table with the keys data and {archive.label_key}")
    images, labels = entry["data"], np.asarray(entry[archive.label_key])
    if labels.dtype.kind != "i" or labels.ndim != 1 or not 0 <= labels.min() <= labels.max() < archive.num_classes:
        raise ValueError(f"labels are not a list of integers in 0 .. {archive.num_classes - 1}")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape != (len(labels), 3 * 32 * 32):
        raise ValueError(f"images are not uint8 of shape ({len(labels)}, 3072), one row per label")
    return images.reshape(-1, 3, 32, 32), labels.astype(np.int64)

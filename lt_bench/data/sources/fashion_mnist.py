"""Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 grey images of 28 x 28 in ten classes, from its four idx files."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources.common import ImageArrays, data_error, fetch, grey_to_rgb, gunzip, verify
from lt_bench.files import SMALL, read_bytes

NUM_CLASSES = 10
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist


class IdxFile(NamedTuple):
    """One file: its name, the SHA-256 of its content and the MD5 of the published .gz."""

    name: str
    sha256: str
    gz_md5: str


# Train images, train labels, test images, test labels. MD5 as in torchvision. Debian compresses the same content
# anew, so what is verified on reading is the content.
FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "25c81989df183df01b3e8a0aad5dffbe",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "bef4ecab320f06d8554ea6380940ec79",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)


# by number, as its authors' README has them
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def load(root: Path, download: bool = True) -> ImageArrays:
    """The data set, images (N, 3, 28, 28), from ``root``, its subfolder FashionMNIST/raw or Debian's package.

    Each file may be plain or .gz; a missing one is fetched into ``root`` where ``download`` allows it.
    Raises DataError for files that are missing, damaged or not the published ones.
    """
    train_images, train_labels, test_images, test_labels = (_read(root, file, download) for file in FILES)
    return ImageArrays(
        grey_to_rgb(train_images),
        train_labels.astype(np.int64),
        grey_to_rgb(test_images),
        test_labels.astype(np.int64),
        NUM_CLASSES,
        CLASSES,
    )


def _read(root: Path, file: IdxFile, download: bool) -> NDArray[np.uint8]:
    url, target = f"{URL}{file.name}.gz", root / f"{file.name}.gz"
    folders = (root, root / "FashionMNIST" / "raw", DEBIAN_FOLDER)
    candidates = (folder / f"{file.name}{suffix}" for folder in folders for suffix in ("", ".gz"))
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        if not download:
            raise data_error(f"Fashion-MNIST: no {file.name} or {file.name}.gz in {root}", url, target)
        fetch(url, target, file.gz_md5)
        path = target
    try:
        content = read_bytes(path, SMALL)
        data = gunzip(content, SMALL) if path.suffix == ".gz" else content
        verify(data, "sha256", file.sha256)
        return parse_idx(data)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise data_error(f"Fashion-MNIST: {path} cannot be used ({error})", url, target) from error


def parse_idx(data: bytes) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an idx file: two zero bytes, type 8, rank, big-endian sizes, values.

    Raises ValueError for another type, a header that is cut off, and more or fewer values than announced.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise ValueError(f"no idx file: starts with {data[:4].hex() or 'nothing'}, expected 0000")
    if data[2] != 8:
        raise ValueError(f"idx type is 0x{data[2]:02x}, expected 0x08 (unsigned byte)")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"idx header is cut off: {len(data)} bytes, expected {start}")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise ValueError(f"idx holds {len(data) - start} values, expected {math.prod(shape)} for shape {shape}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)

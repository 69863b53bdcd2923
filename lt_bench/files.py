"""Files: written under a temporary name and renamed, so that they are complete or not there; read within bounds."""

from __future__ import annotations

import errno
import fcntl
import glob
import io
import json
import math
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import zipfile

    import numpy as np

MOST = 2**30  # bytes of a file that is read as a whole
SMALL = 2**26  # of one that is a page or less, and of what may be unpacked from any file
DEEPEST = 100  # lists and objects inside each other in JSON
UNPACKED = 20  # times the bytes of a file that may be unpacked from it
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room there"),
    errno.EIO: "check the disk",
}
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
_ALIVE = ".alive"  # in a temporary folder: locked by the process that uses it
_END = 22  # bytes at the end of a .zip, before its comment
_FOLDER = 0x10  # among the attributes of its entries


class NotWritten(OSError):
    """A file that could not be written; the message has its path, the reason, and what to do."""

    def __str__(self) -> str:
        advice = ADVICE.get(self.errno or 0, "choose a folder that can be written")
        return f"{self.filename} cannot be written ({self.strerror}): {advice}, then start the same command again"


@contextmanager
def writing(path: str | Path, temporary: Path | None = None) -> Iterator[None]:
    """A block that writes a file, or a temporary one in its place: raises NotWritten for errors of writing it.

    Python does not say which file a write, rather than an opening, was to. Errors that name other files stay.
    """
    try:
        yield
    except OSError as error:
        named = (None, *map(str, (path, temporary, *Path(path).parents)))
        if error.errno is None or error.filename not in named:
            raise
        raise NotWritten(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_writer(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` only when the block ends well; folders are made as needed.

    An error inside the block leaves an older file of that name as it was; raises NotWritten. The temporary file is
    locked while it is written, so that ``sweep`` knows those that killed writers left; those of this name go first.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with writing(path, temporary):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "no regular file")  # a device, which a file would replace
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        try:
            with _locked(temporary) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _locked(path: Path) -> BinaryIO:
    """A new file, locked; one that was swept before it was locked is made again."""
    while True:
        file = path.open("xb")
        with suppress(OSError):  # a file system without locks: nothing is swept there
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()


def sweep(folder: Path, name: str = "") -> None:
    """Delete the temporary files in a folder, or of one file there, that killed writers left; others are locked."""
    for path in folder.glob(f".{glob.escape(name)}*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            with suppress(OSError), open(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder in another one that goes with the block; those of that prefix that killed processes left go first."""
    import shutil  # as tempfile, for those alone who fetch
    import tempfile

    for left in parent.glob(f"{glob.escape(prefix)}*/{_ALIVE}"):
        with suppress(OSError), left.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as name, _locked(Path(name) / _ALIVE):
        yield Path(name)


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write bytes, or text as UTF-8, in one piece; bytes in it of names that are no text are written out."""
    with atomic_writer(path) as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON in one piece; ValueError for NaN and infinity, which JSON does not know."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, text)  # where names are no text, what is written out is JSON's escapes


def read_bytes(path: str | Path, most: int = MOST) -> bytes:
    """The content of a file; OSError for one that is longer, and for pipes and devices, which may never end."""
    with open_regular(path) as stream:
        content = stream.read(min(most, os.fstat(stream.fileno()).st_size) + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
    return content


def read_text(path: str | Path, most: int = MOST) -> str:
    """The text of a UTF-8 file, with the errors of ``read_bytes``."""
    return io.TextIOWrapper(io.BytesIO(read_bytes(path, most)), encoding="utf-8").read()


def parse_json(text: str | bytes) -> Any:
    """A value from JSON; ValueError where it is none, is nested too deeply, or has whole numbers of over 64 bits.

    Too deeply is more than ``DEEPEST``, which no file of ours is: what works on such a value might find no end of it.
    """
    try:
        value = json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    opened = sum(map(text.count, (b"[", b"{") if isinstance(text, bytes) else ("[", "{")))  # type: ignore[arg-type]
    if opened > DEEPEST and _is_deeper(value, DEEPEST):
        raise ValueError("nested too deeply")
    return value


def _is_deeper(value: Any, most: int) -> bool:
    """Whether more than so many lists and objects are inside each other."""
    if not isinstance(value, (list, dict)):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_is_deeper(one, most - 1) for one in inside)


def _whole_number(digits: str) -> int:
    if len(digits) > 20 or (number := int(digits)).bit_length() > 64:  # no array, table or seed could hold it
        raise ValueError(f"{digits[:20]}... is too large a number")
    return number


def read_json(path: Path) -> dict[str, Any]:
    """The object in a small file; empty where there is no valid one."""
    try:
        values = parse_json(read_bytes(path, SMALL))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, nothing unpickled.

    Raises OSError as ``read_bytes`` does, for any length, and for a file that unpacks to far more than its size or says
    that it does; zipfile.BadZipFile and ValueError for one that is damaged.
    """
    import zipfile  # as numpy, for those alone who read arrays

    import numpy as np

    found = {}
    with open_regular(path) as stream, _damage_said(), zipfile.ZipFile(stream) as archive:
        _refuse_bomb(archive, os.fstat(stream.fileno()).st_size)
        _refuse_lost_entries(archive, stream)
        for entry in archive.infolist():
            with archive.open(entry) as member:
                shape, _, dtype = _header(member, entry.filename)
                if math.prod(shape) * dtype.itemsize + member.tell() != entry.file_size:
                    raise OSError(errno.EINVAL, f"{entry.filename} does not hold an array of {shape}", str(path))
            with archive.open(entry) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
            found[entry.filename.removesuffix(".npy")] = array
    return found


def check_archive(path: str | Path) -> None:
    """Refuse a file that others will read: OSError for a pipe or a device, and for a .zip that unpacks too far.

    What is no .zip, or a damaged one, is left to its reader.
    """
    import zipfile

    with open_regular(path) as stream:
        with suppress(zipfile.BadZipFile, ValueError), _damage_said(), zipfile.ZipFile(stream) as archive:
            _refuse_bomb(archive, os.fstat(stream.fileno()).st_size)


def check_entries(stream: BinaryIO) -> None:
    """Compare every entry of a .zip with its checksum; ValueError or BadZipFile, in one line, where one is another."""
    import zipfile

    with _damage_said(), zipfile.ZipFile(stream) as archive:
        if folders := [entry.filename for entry in archive.infolist() if entry.external_attr & _FOLDER]:
            raise ValueError(f"{folders[0]} is said to be a folder")  # PyTorch would read nothing, and return anything
        if name := archive.testzip():
            raise ValueError(f"the checksum of {name} is another")


def _refuse_bomb(archive: zipfile.ZipFile, size: int) -> None:
    if sum(entry.file_size for entry in archive.infolist()) > max(SMALL, UNPACKED * size):
        raise OSError(errno.EFBIG, f"it unpacks to more than {UNPACKED} times its {size:,} bytes", archive.filename)


@contextmanager
def _damage_said() -> Iterator[None]:
    """A block in which all that is raised for a damaged archive is BadZipFile, or ValueError."""
    import struct
    import zipfile
    import zlib

    try:
        yield
    except (RuntimeError, zlib.error, struct.error, EOFError, OverflowError) as error:  # the first: no such method
        raise zipfile.BadZipFile(f"damaged: {error}") from error


def _refuse_lost_entries(archive: zipfile.ZipFile, stream: BinaryIO) -> None:
    """BadZipFile where an archive says that it has more entries than are found in it: a wrong length hides others."""
    import zipfile

    stream.seek(-(len(archive.comment) + _END), io.SEEK_END)
    count = int.from_bytes(stream.read(_END)[10:12], "little")
    if count not in (len(archive.infolist()), 0xFFFF):  # the last: more than that number can say
        raise zipfile.BadZipFile(f"{len(archive.infolist())} of its {count} entries are found")


def read_array(path: str | Path) -> np.ndarray:
    """The array of an .npy file, nothing unpickled; OSError for one that is not as long as it says."""
    import numpy as np

    with open_regular(path) as stream:
        shape, _, dtype = _header(stream, "it")
        size = os.fstat(stream.fileno()).st_size
        if math.prod(shape) * dtype.itemsize + stream.tell() != size:
            raise OSError(errno.EINVAL, f"its {size:,} bytes do not hold an array of {shape}", str(path))
        stream.seek(0)
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def _header(stream: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of the array in an .npy stream, which is then at its first value.

    Raises ValueError for a damaged one and for one of Python objects, in words of our own: NumPy's advise to unpickle.
    """
    import numpy as np

    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        found: tuple[tuple[int, ...], bool, np.dtype] = read(stream)
    except ValueError:
        raise ValueError(f"{name} has a damaged header, or one that is too long") from None
    if found[2].hasobject:
        raise ValueError(f"{name} holds Python objects, which are not read; save it as an array of numbers or texts")
    return found


def open_regular(path: str | Path) -> BinaryIO:
    """A file opened for reading; OSError for pipes, devices and folders."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer would block
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        number, what = (errno.EISDIR, "Is a directory") if stat.S_ISDIR(mode) else (errno.EINVAL, "no regular file")
        raise OSError(number, what, str(path))
    return open(descriptor, "rb")

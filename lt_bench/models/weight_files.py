"""What a file that is given as weights is, by its bytes; without PyTorch, and with nothing unpickled."""

from __future__ import annotations

import codecs
import errno
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from lt_bench.files import open_regular

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # of older files of torch.save
ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02" + MAGIC  # how files of torch.save begin, new and old
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt")
ANEW = "copy or download it anew"
DILATED = "_d8"  # the end of the name of a network with the published weights of the one without it
ALONE = "where it was made, save the weights alone, with torch.save(model.state_dict(), FILE)"
PROTOCOL = "saved with another pickle_protocol than 2, which cannot be read safely; where it was made, save it without"
PACKED = "a compressed archive; unpack it first"
BEGINNINGS = {
    b"version https://git-lfs": "a pointer of git-lfs and not what it stands for; run git lfs pull",
    b"\x93NUMPY": f"an array of NumPy; {ALONE}",
    b"\x89HDF": f"HDF5, as Keras writes it; {ALONE}",
    b"GGUF": f"GGUF, made for language models; {ALONE}",
    **dict.fromkeys((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"), PACKED),
}
TENSORFLOW = f"a part of a checkpoint of TensorFlow, and no weights of PyTorch; {ALONE}"
TABLE = bytes.fromhex("57fb808b247547db")  # the end of TensorFlow's .index
OF_TENSORFLOW = re.compile(r"\.data-\d+-of-\d+$|\.index$|^saved_model\.pb$")
HEAD, LONGEST_HEADER = 512, 100_000_000  # bytes; the second: the most that safetensors reads
# Modules whose names stand in any file of tensors.
OF_TENSORS = frozenset(
    "torch torch._utils torch._tensor torch.storage torch.serialization torch.nn.parameter collections _codecs".split()
)
MOST_STEPS = 2_000_000  # of a pickle that are looked at


def located(source: str) -> Path:
    """Where a file is that a user names; a home folder that nobody has stays as it is written."""
    return Path(os.path.expanduser(source))


def refusal(path: Path) -> str | None:
    """Why what is at a path can be no file of weights, and what to do, in one clause; None where it may be one."""
    try:
        with open_regular(path) as stream:
            return _by_content(path, stream)
    except OSError as error:
        return _cannot_be_opened(path, error)
    except ValueError:  # a null character in the name
        return "no name of a file"


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as those of safetensors do: the length of a header, and its brace."""
    with open_regular(path) as stream:
        head = stream.read(HEAD)
    return _has_header(head) or path.suffix == ".safetensors" and not head.startswith((ZIP, PICKLE))


def damage(path: Path) -> str:
    """Why PyTorch cannot read a file that looks like one of its own: objects in it that are no tensors, or damage."""
    try:
        with open_regular(path) as stream:
            found, protocol = objects_in(stream), _protocol(stream)
    except OSError as error:
        return _cannot_be_opened(path, error)
    if found:
        return f"with Python objects in it ({found}), which are not read, as they may run any code; {ALONE}"
    if protocol > 2:
        return PROTOCOL
    return f"damaged, or too large for the memory; {ANEW}"


def objects_in(stream: BinaryIO) -> str:
    """Which Python objects, beside tensors and plain values, a file of torch.save holds; empty where none are found.

    Its pickle is read as a list of instructions, none of which is carried out.
    """
    found: dict[str, None] = {}
    with suppress(Exception):  # a damaged pickle: whatever was found before the damage
        for module, name in islice(_names(stream), MOST_STEPS):
            if module not in OF_TENSORS and re.fullmatch(r"[\w.]+", f"{module}.{name}"):
                found[f"{module}.{name}"] = None
    return shown_names([*found], 3)


def _names(stream: BinaryIO) -> Iterator[tuple[str, str]]:
    """Module and name of whatever the pickles of a file would import."""
    stream.seek(0)
    if stream.read(len(ZIP)) == ZIP:
        with zipfile.ZipFile(stream) as archive, archive.open(_pickle_in(archive)) as member:
            yield from _of_pickle(member)
        return
    stream.seek(0)
    for _ in range(4):  # a mark, a version, facts of the machine, and what was saved
        yield from _of_pickle(stream)


def _pickle_in(archive: zipfile.ZipFile) -> str:
    (pickle,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    return pickle


def _protocol(stream: BinaryIO) -> int:
    """The protocol of the pickle in an archive; 2, which torch.save takes by itself, where it cannot be told."""
    with suppress(Exception), zipfile.ZipFile(stream) as archive:
        content = archive.read(_pickle_in(archive))
        return content[1] if content.startswith(b"\x80") else 2
    return 2


def _of_pickle(stream: object) -> Iterator[tuple[str, str]]:
    texts: list[str | None] = []  # what was put on the stack last, which protocol 4 takes its names from
    kept: dict[int, str | None] = {}
    for code, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
        if code.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            yield module, name
        elif code.name == "STACK_GLOBAL" and all(texts[-2:]):
            yield str(texts[-2]), str(texts[-1])
        if code.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            kept[len(kept) if code.name == "MEMOIZE" else int(str(argument))] = texts[-1]
        elif code.name.endswith("GET"):
            texts = [*texts[-1:], kept.get(int(str(argument)))]
        else:
            texts = [*texts[-1:], argument if isinstance(argument, str) else None]


def _cannot_be_opened(path: Path, error: OSError) -> str:
    if os.path.isdir(path):
        inside = (
            sorted(one.name for one in path.iterdir() if one.suffix in SUFFIXES) if os.access(path, os.R_OK) else []
        )
        return f"a folder; name the file in it{f', such as {inside[0]}' if inside else ''}"
    if isinstance(error, FileNotFoundError):
        return "a link to a file that is gone" if os.path.islink(path) else "no such file"
    if error.errno == errno.EINVAL:
        return "no regular file, but a pipe or a device"
    if isinstance(error, PermissionError):
        return f"not readable ({error.strerror}); let its owner run chmod +r on it"
    return f"not readable ({error.strerror or error})"


def _by_content(path: Path, stream: BinaryIO) -> str | None:
    size, head = os.fstat(stream.fileno()).st_size, stream.read(HEAD)
    if not size:
        return f"empty; {ANEW}"
    if head.startswith(ZIP):
        return _archive(stream)
    if head.startswith(PICKLE) or _has_header(head):
        return None
    stream.seek(max(0, size - len(TABLE)))
    if OF_TENSORFLOW.search(path.name) or stream.read() == TABLE or head.startswith(b"model_checkpoint_path:"):
        return TENSORFLOW
    for beginning, what in BEGINNINGS.items():
        if head.startswith(beginning):
            return what
    if head[257:262] == b"ustar":
        return PACKED
    if text := _text(head):
        return text
    if path.suffix == ".safetensors":
        return f"no whole file of safetensors: its header is not one; {ANEW}"
    if MAGIC in head[: 3 * len(MAGIC)]:
        return PROTOCOL
    if head[:1] == b"\x80":
        return f"a pickle that torch.save has not made; {ALONE}"
    return f"neither a file of torch.save nor of safetensors; {ALONE}"


def _archive(stream: BinaryIO) -> str | None:
    try:
        with zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises anything for a damaged one
        return f"incomplete: the end of the archive is missing or damaged; {ANEW}"
    if any(name.endswith(("/constants.pkl", ".data/extern_modules")) for name in names):
        return f"a program (TorchScript or torch.package) and no weights; {ALONE}"
    if any(name.endswith("/data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return f"arrays of NumPy (.npz); {ALONE}"
    return "an archive (.zip) of other files; unpack it, and name the file of weights in it"


def _text(head: bytes) -> str | None:
    """What kind of text begins so; None for bytes that are none."""
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    start = head.replace(b"\0", b"").lstrip(codecs.BOM_UTF8 + b"\xff\xfe \t\r\n") if wide or b"\0" not in head else b""
    if start.startswith(b"<"):
        return "a web page or another text in tags, and not the file behind it; download the file itself"
    if start.startswith(b"{"):
        return "a JSON text, such as the index of weights in several files; name one file that holds all weights"
    with suppress(UnicodeDecodeError):
        if codecs.getincrementaldecoder("utf-8")().decode(start):
            return "a text; name the file of weights itself"
    return None


def _has_header(head: bytes) -> bool:
    return head[8:9] == b"{" and 1 < int.from_bytes(head[:8], "little") <= LONGEST_HEADER


def shown_names(names: list[str], most: int = 5) -> str:
    """Some names from a file in a message: the first few, none too long, control characters written out."""
    plain = [name if name.isprintable() else ascii(name)[1:-1] for name in names[:most]]
    short = [name if len(name) <= 100 else f"{name[:60]}...{name[-30:]}" for name in plain]
    return ", ".join(short) + (", ..." if len(names) > most else "")

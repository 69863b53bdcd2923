import fcntl
import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lt_bench.files import (
    atomic_writer,
    parse_json,
    read_array,
    read_arrays,
    read_bytes,
    read_json,
    sweep,
    temporary_folder,
    write_atomic,
    write_json,
)


def test_text_and_bytes_are_written_into_new_folders(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b.txt", "τ\n")
    write_atomic(tmp_path / "a" / "c.bin", b"\x00")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "τ\n".encode()
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["b.txt", "c.bin"]


def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomic(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_writer(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


KILLED_WRITER = """
import sys, time
from lt_bench.files import atomic_writer
with atomic_writer(sys.argv[1]) as file:
    file.write(b"half")
    print("open", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    others = [".a.tmp", ".0123abcd.tmp", "a.0123abcd.tmp", ".a.0123abcg.tmp", ".a.0123abcd.tmp2"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".old.0123abcd.tmp").touch()  # of a version that did not lock them
    (tmp_path / ".folder.0123abcd.tmp").mkdir()
    (tmp_path / ".link.0123abcd.tmp").symlink_to(tmp_path / ".a.tmp")
    kept = {*others, ".folder.0123abcd.tmp", ".link.0123abcd.tmp"}
    command = [sys.executable, "-c", KILLED_WRITER, tmp_path / "record.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"open\n"
        with atomic_writer(tmp_path / "mine"):
            sweep(tmp_path)
            assert len({path.name for path in tmp_path.iterdir()} - kept) == 2  # of writers that live
        writer.kill()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "mine"}


def test_a_writer_sweeps_what_a_killed_one_left_of_the_same_file(tmp_path):
    left, other = tmp_path / ".a[1].md.0123abcd.tmp", tmp_path / ".b.md.0123abcd.tmp"
    left.touch(), other.touch()
    with atomic_writer(tmp_path / "a[1].md") as file:
        assert not left.exists() and other.exists()
        write_atomic(tmp_path / "a[1].md", "another, meanwhile")
        file.write(b"words")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "a[1].md"]
    assert (tmp_path / "a[1].md").read_text() == "words"


def test_a_folder_that_a_killed_process_left_goes_with_the_next_one(tmp_path: Path) -> None:
    code = KILLED_WRITER.replace("atomic_writer(sys.argv[1])", "temporary_folder(Path(sys.argv[1]), '.download-')")
    code = code.replace("atomic_writer", "temporary_folder").replace("file.write(b", "(file / 'a').write_bytes(b")
    command = [sys.executable, "-c", f"from pathlib import Path{code}", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        with temporary_folder(tmp_path, ".download-"):
            assert len(list(tmp_path.iterdir())) == 2  # that of a process that lives is kept
        other.kill()
    assert len(list(tmp_path.iterdir())) == 1
    with temporary_folder(tmp_path, ".download-") as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, swept = fcntl.flock, []

    def late(file: Any, operation: int) -> None:
        if not swept:
            swept.extend(path.unlink() for path in tmp_path.glob(".*.tmp"))
        flock(file, operation)

    monkeypatch.setattr("lt_bench.files.fcntl.flock", late)
    write_atomic(tmp_path / "a", "text")
    assert swept and (tmp_path / "a").read_text() == "text" and len(list(tmp_path.iterdir())) == 1


def test_json_round_trip_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"name": "τ-norm", "few": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "τ-norm", "few": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"few": float("nan")})
    assert "τ-norm" in path.read_text(encoding="utf-8")


def test_pipes_devices_and_long_files_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "long.json").write_text("12345")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for path in (tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(OSError, match="no regular file"):
            read_bytes(path)
        assert read_json(path) == {}
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_bytes(tmp_path / "long.json", 4)
    assert read_bytes(tmp_path / "long.json", 5) == b"12345" and read_json(tmp_path / "deep.json") == {}


def test_arrays_come_back_and_their_lies_are_found(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("word"), "c": np.zeros((0, 2), dtype=np.int64)}
    for name, write in (("plain", np.savez), ("packed", np.savez_compressed)):
        write(tmp_path / f"{name}.npz", **arrays)
        found = read_arrays(tmp_path / f"{name}.npz")
        assert found.keys() == arrays.keys() and all(np.array_equal(found[key], arrays[key]) for key in arrays)
    np.save(tmp_path / "a.npy", arrays["a"])
    assert np.array_equal(read_array(tmp_path / "a.npy"), arrays["a"])

    whole = (tmp_path / "packed.npz").read_bytes()
    for place in range(8 * len(whole)):  # nothing is lost, and nothing is raised that readers do not know
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "flipped.npz").write_bytes(flipped)
        with suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
            found = read_arrays(tmp_path / "flipped.npz")
            assert all(np.array_equal(found[key], arrays[key]) for key in arrays), place

    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(2**27, dtype=np.uint8))
    with pytest.raises(OSError, match="unpacks to more than 20 times"):
        read_arrays(tmp_path / "bomb.npz")
    header = (tmp_path / "a.npy").read_bytes().replace(b"(2, 3)", b"(8, 9)")
    (tmp_path / "a.npy").write_bytes(header)
    with pytest.raises(OSError, match=r"do not hold an array of \(8, 9\)"):
        read_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "lying.npz", "w") as archive:
        archive.writestr("a.npy", header)
    with pytest.raises(OSError, match="does not hold an array"):
        read_arrays(tmp_path / "lying.npz")


def test_a_header_too_long_is_refused_without_advice_to_unpickle(tmp_path: Path) -> None:
    numbers = np.zeros(1, dtype=[(f"column {number}", "f4") for number in range(2000)])
    np.save(tmp_path / "wide.npy", numbers)
    np.savez(tmp_path / "wide.npz", numbers)
    for read, name in ((read_array, "wide.npy"), (read_arrays, "wide.npz")):
        with pytest.raises(ValueError, match="has a damaged header, or one that is too long") as caught:
            read(tmp_path / name)
        assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("digits", [str(2**64), str(-(2**64)), "1" * 30, "9" * 10_000])
def test_numbers_that_no_array_holds_are_no_json(digits):
    with pytest.raises(ValueError, match="too large a number"):
        parse_json(f'{{"a": [{digits}]}}')
    assert parse_json(f"[{2**64 - 1}, {-(2**63)}]") == [2**64 - 1, -(2**63)]

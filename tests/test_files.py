import json
from pathlib import Path

import pytest

from lt_bench.files import atomic_writer, write_atomic, write_json


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


def test_json_round_trip_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"name": "τ-norm", "few": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "τ-norm", "few": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"few": float("nan")})
    assert "τ-norm" in path.read_text(encoding="utf-8")

"""metrics.jsonl: what a stage writes, what is kept when it goes on, and what is read of a damaged file."""

import json

import pytest

from lt_bench.files import SMALL
from lt_bench.record.curves import CurvesFile, read_curves


def test_a_resumed_stage_drops_lines_that_it_writes_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first, second = CurvesFile(path, "stage one"), CurvesFile(path, "stage two")
    for epoch in range(3):
        first.write(epoch, {"loss": epoch})
    second.write(0, {"loss": 9})
    path.write_text(path.read_text() + '{"stage": "stage one", "ep')  # killed while it wrote
    first.begin(1)
    first.write(1, {"loss": 7})
    first.sync()
    kept = [("stage one", 0, 0), ("stage two", 0, 9), ("stage one", 1, 7)]
    assert [(row["stage"], row["epoch"], row["loss"]) for row in read_curves(path)] == kept
    assert len(path.read_text().splitlines()) == 3


def test_other_ranks_write_nothing(tmp_path):
    other = CurvesFile(tmp_path / "metrics.jsonl", "stage one", writes=False)
    other.begin(0)
    other.write(0, {"loss": 1.0})
    other.sync()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_lines_that_are_no_epochs_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    good = {"stage": "stage one", "epoch": 0, "loss": 1.0}
    path.write_bytes(b"\n".join([b"\xff", b"[]", b'{"stage": 1, "epoch": 0}', b"{}", json.dumps(good).encode(), b"["]))
    assert read_curves(path) == [good]
    assert read_curves(tmp_path / "nowhere") == []


def test_a_file_longer_than_any_run_makes_is_refused(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with path.open("wb") as file:
        file.truncate(SMALL + 1)
    with pytest.raises(OSError, match="more than"):
        read_curves(path)

"""A disk that takes nothing: path and advice in one line, and no checkpoint is lost."""

import errno
import os
import resource
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import image_trees
from helpers.chain import assert_identical, results, tiny
from helpers.samples import predictions, sample

from lt_bench import files
from lt_bench.command import exit_status
from lt_bench.data.__main__ import main as data_main
from lt_bench.data.files.digests import digests
from lt_bench.engine import checkpoint
from lt_bench.errors import UsageError
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.files import NotWritten, write_atomic, write_json
from lt_bench.record.curves import CurvesFile
from lt_bench.report.__main__ import main as report_main
from lt_bench.run.execute import execute

REASONS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO]


def failing(monkeypatch: pytest.MonkeyPatch, first: int, reason: int = errno.ENOSPC) -> list[int]:
    """Let every file from the ``first`` on, counted from 0, fail when it goes to the disk; the list grows by each."""
    written: list[int] = []
    to_disk = os.fsync

    def fsync(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > first:
            raise OSError(reason, os.strerror(reason))
        to_disk(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    return written


@contextmanager
def largest_file(size: int):
    """Files of this process may grow to so many bytes: the system itself refuses more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WORDS = ["method=ce", "stage_two=cb", "train.epochs=3", "checkpoint.every_steps=1"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run ends with, and how many files it writes."""
    with pytest.MonkeyPatch.context() as patch:
        written = failing(patch, 10**6)
        outcome = execute(tiny(tmp_path_factory.mktemp("undisturbed"), *WORDS))
    return results(*outcome), len(written)


@pytest.mark.parametrize("reason", REASONS)
def test_the_reason_and_the_path_are_said(reason, tmp_path, monkeypatch, capsys):
    failing(monkeypatch, 0, reason)
    assert exit_status(lambda: write_atomic(tmp_path / "a", "x") or 0) == 1
    said = f"lt_bench: {tmp_path / 'a'} cannot be written ({os.strerror(reason)}): "
    assert capsys.readouterr().err.startswith(said) and not [*tmp_path.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO])
def test_a_run_goes_on_after_any_write_that_failed(reason, undisturbed, tmp_path, monkeypatch, capsys):
    expected, writes = undisturbed
    for first in range(int(reason == errno.EIO), writes, 2):
        place = tmp_path / str(first)
        with monkeypatch.context() as patch:
            failing(patch, first, reason)
            status = exit_status(lambda place=place: execute(tiny(place, *WORDS)) and 0)
        (line,) = [line for line in capsys.readouterr().err.splitlines() if os.strerror(reason) in line]
        assert status in (1, 2) and str(place) in line and any(word in line for word in ("again", "output_dir=DIR"))
        assert_identical(results(*execute(tiny(place, *WORDS))), expected)
        assert not [*place.rglob("*.tmp")]


def test_a_full_disk_in_the_middle_of_a_run_costs_no_checkpoint(undisturbed, tmp_path, monkeypatch):
    expected, writes = undisturbed
    with monkeypatch.context() as patch:
        failing(patch, writes // 2)
        with pytest.raises(NotWritten, match=r"cannot be written \(No space left on device\): make room there"):
            execute(tiny(tmp_path, *WORDS))
    (folder,) = (path.parent for path in tmp_path.glob("*/checkpoint.pt"))
    state, warning = checkpoint.load_last_good(folder / "checkpoint.pt", torch.device("cpu"))
    assert state is not None and warning is None
    assert_identical(results(*execute(tiny(tmp_path, *WORDS))), expected)


def saved_twice(path: Path) -> None:
    checkpoint.save(path, {"values": torch.zeros(10)})
    with largest_file(20_000):
        checkpoint.save(path, {"values": torch.zeros(10_000)})


def log_grown(path: Path) -> None:
    with largest_file(20_000):
        CurvesFile(path, "stage one").write(0, dict.fromkeys(map(str, range(5000)), 0.5))


def predictions_saved(path: Path) -> None:
    with largest_file(20_000):
        save_predictions(path, predictions(np.zeros((1000, 100)), [0] * 1000, [1] * 100))


def text_written(path: Path) -> None:
    with largest_file(20_000):
        write_atomic(path, "x" * 30_000)


def record_written(path: Path) -> None:
    with largest_file(20_000):
        write_json(path, {"settings": "x" * 30_000})


@pytest.mark.parametrize("write", [saved_twice, log_grown, predictions_saved, text_written, record_written])
def test_every_writer_names_its_file_and_says_what_to_do(write, tmp_path):
    path = tmp_path / "deep" / "file"
    path.parent.mkdir()
    with pytest.raises(NotWritten) as refused:
        write(path)
    assert str(refused.value) == (
        f"{path} cannot be written (File too large): make room there, then start the same command again"
    )
    assert {one.name for one in path.parent.iterdir()} <= {"file"}  # nothing is left beside it
    if write is saved_twice:
        assert torch.equal(checkpoint.load(path, torch.device("cpu"))["values"], torch.zeros(10))


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", Path("/proc")):
        with pytest.raises(UsageError, match=f"cannot write into {place}/.*; choose .* output_dir=DIR"):
            execute(tiny(place, "method=ce"))
    with pytest.raises(NotWritten, match="choose a folder that can be written"):
        write_atomic(tmp_path / "file" / "record.json", "x")


def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotWritten, match=r"pipe cannot be written \(no regular file\): choose"):
        write_atomic(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()


def test_a_cache_that_cannot_be_written_costs_a_line_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"a")
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "cache"))
    os.utime(tmp_path / "data" / "a", (1, 1))
    monkeypatch.setattr("lt_bench.data.files.digests.SETTLED_NS", 0)
    failing(monkeypatch, 0)
    (found,) = digests(str(tmp_path / "data"), ["a"], shown=False)
    assert len(found.sha256) == 64 and "cannot be written (No space left on device)" in capsys.readouterr().err
    monkeypatch.setenv("LT_BENCH_CACHE", "/proc/nowhere")
    assert digests(str(tmp_path / "data"), ["a"], shown=False) == [found]


def test_tables_that_a_disk_does_not_take_are_printed(tmp_path, monkeypatch, capsys):
    write_json(tmp_path / "runs" / "one" / "record.json", sample().to_dict())
    failing(monkeypatch, 0)
    assert report_main(["--runs", str(tmp_path / "runs")]) == 1
    shown = capsys.readouterr()
    assert "SBCL / CB" in shown.out and "(No space left on device); name another place with --out DIR" in shown.err


def test_a_packed_copy_goes_on_when_there_is_room(tmp_path, capsys):
    tree = image_trees.tree(tmp_path / "data", "image_folder")
    words = ["prepare", *image_trees.overrides(tree, "image_folder"), f"dataset.packed={tmp_path / 'packed'}"]
    words += ["dataset.workers=0", "progress=false"]
    with largest_file(100_000):
        assert data_main(words) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert ".packed.unfinished/images.bin cannot be written (File too large): make room there" in line
    assert data_main(words) == 0
    with suppress(FileNotFoundError):
        assert not [*(tmp_path / ".packed.unfinished").iterdir()]

"""The progress of a sweep: a live table on a terminal, else a line per ended run; failures at the end."""

import io
import json
import sys
import time

import pytest

from lt_bench.launch.local.process_pool import Job, Process, ProcessPool
from lt_bench.launch.local.progress import SweepProgress, progress_of


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def jobs(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    return [Job(tmp_path / name) for name in "ab"]


def progress(jobs, shown=True):
    return SweepProgress(len(jobs), 2, {job.folder: f"seed={job.folder.name}" for job in jobs}, shown)


def test_a_live_table(jobs, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    (jobs[0].folder / "metrics.jsonl").write_text(json.dumps({"stage": "stage one", "epoch": 7, "loss": 0.25}) + "\n")
    pool = ProcessPool([], 2, {})
    pool.running = [Process(job, None, time.monotonic() - 62) for job in jobs]
    with progress(jobs) as shown:
        shown.refresh(pool)
        table = sys.stderr.getvalue()
        assert "a seed=a  1:02  stage one, epoch 7, loss 0.25" in table and "b seed=b  1:02" in table
        pool.running.clear()
        shown.note(jobs[0], 0, "done")
        shown.note(jobs[1], 1, "failed (exit 1): why")
        shown.refresh(pool)  # too early after the last
    assert "2/2" in sys.stderr.getvalue() and "1 failed" in sys.stderr.getvalue()
    assert "[1/2]" not in sys.stderr.getvalue()


def test_without_a_terminal_a_line_for_each_that_ends(jobs, capsys):
    with progress(jobs) as shown:
        shown.refresh(ProcessPool([], 2, {}))
        shown.note(jobs[0], 0, "done")
        shown.note(jobs[1], 1, "failed (exit 1): why")
    assert capsys.readouterr().err == "[1/2] a seed=a: done\n[2/2] b seed=b: failed (exit 1)\n"
    assert shown.failures == ["b seed=b: failed (exit 1): why"]


def test_no_output_without_progress(jobs, capsys):
    with progress(jobs, shown=False) as shown:
        shown.note(jobs[0], 0, "done")
    assert capsys.readouterr().err == ""


def test_a_failure_names_the_file_with_the_most_detail(jobs):
    shown = progress(jobs, shown=False)
    shown.note(jobs[0], 1, "not run")
    (jobs[0].folder / "log.txt").touch()
    shown.note(jobs[0], 1, "failed")
    (jobs[0].folder / "trace.txt").touch()
    shown.note(jobs[0], 1, "failed")
    folder = jobs[0].folder
    files = ["", f" (see {folder / 'log.txt'})", f" (see {folder / 'trace.txt'})"]
    lines = ["a seed=a: not run", "a seed=a: failed", "a seed=a: failed"]
    assert shown.failures == [line + file for line, file in zip(lines, files, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ('{"stage": "stage two", "epo', ""),
        ('{"epoch": 1}\n', ""),
        (
            '{"stage": "s", "epoch": 1, "loss": 1}\n{"stage": "s", "epoch": 2, "loss": 12.3456}\n',
            "s, epoch 2, loss 12.3",
        ),
    ],
)
def test_the_progress_of_a_run(text, expected, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(text)
    assert progress_of(tmp_path) == expected and progress_of(tmp_path / "none") == ""

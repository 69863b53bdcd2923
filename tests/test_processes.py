"""Variables of a launcher: each is used, ignored with a word, or refused by its name."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
import torch
from helpers.chain import tiny
from helpers.command_line import wait_for

from lt_bench.engine import distributed
from lt_bench.errors import UsageError
from lt_bench.machine import odd_threads
from lt_bench.processes import Place, ignored, left_to_sweep, meeting_point, place, without_place
from lt_bench.run.execute import carry_out

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES")
TWO = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
ODD = ["x", "-1", "1.5", "9" * 5000, "٣"]


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Place()),
        ({"RANK": "3", "LOCAL_RANK": "2", "MASTER_ADDR": "x", "SLURM_PROCID": "5"}, Place()),
        ({"WORLD_SIZE": " "}, Place()),
        ({"WORLD_SIZE": "1"}, Place()),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, Place()),
        (TWO, Place(1, 2, 1)),
        ({"WORLD_SIZE": "2", "RANK": "0"}, Place(0, 2, None)),
    ],
)
def test_the_place_of_a_process(values, expected, monkeypatch):
    given(monkeypatch, **values)
    assert place() == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT") for value in ODD]
    + [(name, "") for name in ("RANK", "MASTER_PORT", "MASTER_ADDR")],
)
def test_odd_values_are_refused_by_name(name, value, monkeypatch):
    given(monkeypatch, **{**TWO, name: value})
    with pytest.raises(UsageError, match=rf"^{name}\b.* unset WORLD_SIZE") as refused:
        place()
        meeting_point()
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "0"), ("RANK", "2"), ("LOCAL_RANK", "2")])
def test_values_out_of_range_are_refused_by_name(name, value, monkeypatch):
    given(monkeypatch, **{**TWO, name: value})
    with pytest.raises(UsageError, match=f"^{name}={value}"):
        place()


def test_what_was_left_behind_is_said_and_the_result_is_shown(monkeypatch, tmp_path, capsys):
    given(monkeypatch, RANK="1", LOCAL_RANK="x", WORLD_SIZE="")
    assert [line.partition("=")[0].partition(" ")[0] for line in ignored()] == ["WORLD_SIZE", "RANK", "LOCAL_RANK"]
    for start in ("", "done before: "):
        assert carry_out(tiny(tmp_path, "method=ce")) == 0
        shown = capsys.readouterr()
        assert f"{start}CE on digits_lt" in shown.out
    given(monkeypatch, WORLD_SIZE="1", RANK="0")
    assert ignored() == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, []),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": "29500"}, []),
        (TWO, ["WORLD_SIZE=2", "RANK=1", "LOCAL_RANK=1"]),
        ({"WORLD_SIZE": "0"}, ["WORLD_SIZE=0"]),
        ({"RANK": "9" * 5000}, [f"RANK={'9' * 40}"]),
    ],
)
def test_a_sweep_says_what_is_no_place_of_its_runs(values, said, monkeypatch):
    given(monkeypatch, **values)
    assert [line.partition(" in the environment")[0] for line in left_to_sweep()] == [", ".join(said)] * bool(said)
    assert without_place({"HOME": "/", **values, "LOCAL_WORLD_SIZE": "2"}) == {"HOME": "/"}


def test_processes_that_do_not_come_are_not_waited_for_for_days(monkeypatch):
    given(monkeypatch, **TWO | {"RANK": "0", "MASTER_PORT": "0"})
    monkeypatch.setattr(distributed, "ARRIVAL", timedelta(seconds=1))
    with pytest.raises(UsageError, match="has not met the others of WORLD_SIZE=2 at MASTER_ADDR:MASTER_PORT=localhost"):
        distributed.start("cpu")


@pytest.mark.parametrize("local_rank", ["1", ""])
def test_a_local_rank_beyond_the_devices_is_named(local_rank, monkeypatch):
    given(monkeypatch, **TWO | {"LOCAL_RANK": local_rank})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="^LOCAL_RANK is .* PyTorch sees 1 CUDA device: "):
        distributed.start("auto")


def test_visible_devices_that_are_none_are_said(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for value, said in (("abc", 1), ("7", 1), ("", 0), ("-1", 0)):
        given(monkeypatch, CUDA_VISIBLE_DEVICES=value)
        assert distributed.start("auto").device.type == "cpu"
        assert capsys.readouterr().err.count(f"CUDA_VISIBLE_DEVICES={value}") == said


@pytest.mark.parametrize("value", ["words", "0", "-3", "9" * 5000, "1.5"])
def test_odd_numbers_of_threads_are_ignored_with_a_word(value, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    (line,) = odd_threads()
    assert line.startswith(f"OMP_NUM_THREADS={value[:40]} ") and line.endswith("ignored")


def test_numbers_of_threads(monkeypatch):
    for value in ("4", "4,2", "1024", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert odd_threads() == []
    monkeypatch.setenv("OMP_NUM_THREADS", "9999")
    with pytest.raises(UsageError, match="OMP_NUM_THREADS=9999 in the environment: it takes numbers from 1 to 1024"):
        odd_threads()
    assert "OMP_NUM_THREADS" in os.environ


WAITING = """
import signal, sys, threading, time
from pathlib import Path
from lt_bench.engine import distributed

def tell():
    while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        time.sleep(0.05)
    Path(sys.argv[1]).touch()

signal.signal(signal.SIGTERM, signal.default_int_handler)
threading.Thread(target=tell, daemon=True).start()
distributed.start("cpu")
"""


@pytest.mark.slow
def test_a_process_that_waits_for_the_others_can_be_ended(tmp_path):
    environment = {**os.environ, **TWO, "RANK": "0", "MASTER_PORT": "0"}
    command = [sys.executable, "-c", WAITING, str(tmp_path / "waits")]
    process = subprocess.Popen(command, env=environment)
    wait_for((tmp_path / "waits").exists)
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM

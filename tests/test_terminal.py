"""Every command shows its output on every terminal, with the exit status that it has elsewhere."""

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.samples import sample
from helpers.sampling import each_value_once

from lt_bench.command import exit_status
from lt_bench.files import write_json
from lt_bench.terminal import Output, spelled, terminal

RUN = ["lt_bench", "method=ce", "budget=smoke", "stage_two=tau_norm"]
# what prints signs that ASCII has not: a result, tables, states, help; and every command's own help
COMMANDS = {
    "run": RUN,
    "done before": RUN,
    "report": ["lt_bench.report"],
    "status": ["lt_bench.launch", "status"],
    "plan": ["lt_bench.launch", "plan", "method=ce,sbcl"],
    "help": ["lt_bench", "--help"],
    "help of a key": ["lt_bench", "--help", "train"],
    "config": ["lt_bench", "--cfg", "job"],
    "dry run": ["lt_bench", "--dry-run"],
    "sweep": ["lt_bench", "-m", "method=ce", "budget=smoke", "seed=1"],
    "help of report": ["lt_bench.report", "--help"],
    "help of data": ["lt_bench.data", "--help"],
    "check": ["lt_bench.data", "check", "dataset=image_folder", "dataset.root=nowhere", "dataset.num_classes=2"],
    "help of launch": ["lt_bench.launch", "--help"],
    "help of eval": ["lt_bench.report", "eval", "--help"],
    "help of compare": ["lt_bench.report", "compare", "--help"],
    "help of figures": ["lt_bench.figures", "--help"],
    "version": ["lt_bench", "--version"],
    "wrong usage": ["lt_bench", "method=sbçl"],
}
STATUS = {"check": 1, "wrong usage": 2}
ENCODINGS = {"ascii": "ascii", "latin-1": "latin-1", "Windows": "cp1252", "DOS": "cp437", "UTF-8": "utf-8:strict"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run in it."""
    place = tmp_path_factory.mktemp("runs")
    write_json(place / "runs" / "one" / "record.json", sample(method_name="τ ± é").to_dict())
    return place


def started(command: list[str], folder: Path, encoding: str = "utf-8", **streams: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.Popen([sys.executable, "-m", *command], cwd=folder, env=environment, **streams)  # type: ignore


def said_by(command: list[str], folder: Path, encoding: str) -> tuple[int, str]:
    process = started(command, folder, encoding, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return process.wait(), process.communicate()[0].decode(encoding.partition(":")[0])


CHEAP = ("report", "help")
FULL = ("help of report",)  # of the fast set
OTHERS = ("run", "report", "status", "wrong usage")  # of one kind each, in the encodings that have more signs
SHOWN = [(name, "ascii") for name in COMMANDS]
SHOWN += [(name, kind) for name in OTHERS for kind in ENCODINGS if kind != "ascii"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(*one, marks=() if one[0] in CHEAP and one[1] == "ascii" else pytest.mark.slow) for one in SHOWN],
)
def test_output_is_shown_in_every_encoding(name, kind, folder):
    status, text = said_by(COMMANDS[name], folder, ENCODINGS[kind])
    assert status == STATUS.get(name, 0) and "Traceback" not in text and "codec" not in text
    if name == "report" and kind == "ascii":
        assert "tau +- e / CB" in text and "mean +- sample" in text
    if name == "run" and kind == "ascii":
        assert "tau-norm" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_has_gone_changes_nothing(name, folder):
    reading, writing = os.pipe()
    os.close(reading)
    process = started(COMMANDS[name], folder, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    said = process.communicate()[1].decode()
    assert process.returncode == STATUS.get(name, 0) and "Traceback" not in said and "Broken pipe" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "closed"), each_value_once(itertools.product(COMMANDS, (">&-", "2>&-", ">&- 2>&- <&-")), in_all=True)
)
def test_closed_streams_change_nothing(name, closed, folder):
    shell = f'exec "$@" {closed}'
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", *COMMANDS[name]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == STATUS.get(name, 0) and "Traceback" not in done.stdout + done.stderr


def full(text: str = "x\n") -> int:
    print(text)
    return 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_a_disk_does_not_take_is_said(monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert exit_status(full, "lt_bench.x") == 1
        assert sys.stdout is stream
    assert capsys.readouterr().err == (
        "lt_bench.x: standard output cannot be written (No space left on device): a part is lost\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FULL else pytest.mark.slow) for n in COMMANDS if n != "sweep"]
)
def test_no_command_succeeds_whose_output_is_lost(name, folder):
    """Help, which a parser of arguments prints before anything runs, among them; a sweep prints to stderr."""
    with open("/dev/full", "w") as stream:
        process = started(COMMANDS[name], folder, stdout=stream, stderr=subprocess.PIPE)
    said = process.communicate()[1].decode()
    assert process.returncode == STATUS.get(name, 1)
    assert "standard output cannot be written" in said or name in STATUS  # which print to stderr alone


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("left", "status"), [(0, 1), (None, 1), (2, 2)])
def test_what_leaves_early_is_judged_as_well(left, status, monkeypatch, capsys):
    def leaves() -> int:
        print("x")
        raise SystemExit(left)

    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        try:
            found = exit_status(leaves)
        except SystemExit as stop:
            found = stop.code
    assert found == status and "a part is lost" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [("τ-norm – 0.1 ± 0.2", "tau-norm - 0.1 +- 0.2"), ("3 × 2 …", "3 x 2 ..."), ("«é» ü", '"e" u'), ("abc", "abc"),
     ("── ━", "-- -"), ("猫", "\\u732b"), ("\udce9", "\\udce9"), ("CE †", "CE (+)")],
)  # fmt: skip
def test_signs_are_spelled(text, shown):
    assert spelled(text) == shown
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    sys_out = Output(stream.buffer, encoding="ascii", errors="lt_bench_spelled")
    sys_out.write(text)
    sys_out.flush()
    assert stream.buffer.getvalue() == shown.encode()  # type: ignore[attr-defined]


def test_only_what_an_encoding_has_not_is_spelled(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    with terminal():
        print("τ ± – é", end="")
    assert stream.buffer.getvalue().decode("cp1252") == "tau ± – é"  # type: ignore[attr-defined]
    assert sys.stdout is stream


def test_streams_without_bytes_stay(monkeypatch):
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stdout", notebook)
    with terminal():
        print("τ")
        assert sys.stdout is notebook
    assert notebook.getvalue() == "τ\n"


def test_a_current_folder_that_is_gone_is_said(tmp_path):
    shell = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    for module in ("lt_bench", "lt_bench.report"):
        command = ["sh", "-c", shell, "sh", sys.executable, "-m", module]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2 and "the current folder cannot be used (No such file or directory)" in done.stderr

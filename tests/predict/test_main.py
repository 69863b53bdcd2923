"""The command that predicts new images: what is meant, what is broken, what is written."""

import codecs
import csv
import io
import os
from dataclasses import replace

import numpy as np
import pytest
from helpers.chain import tiny
from helpers.command_line import call, without_torch
from helpers.odd_folders import encoded
from PIL import Image

import lt_bench
from lt_bench.predict.__main__ import main
from lt_bench.predict.images import found
from lt_bench.run.execute import execute


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return execute(tiny(tmp_path_factory.mktemp("runs"), "method=ce", "stage_two=ncm", "threads=1"))[1]


@pytest.fixture
def photos(tmp_path):
    """Five images at two depths, one of them broken, beside what is no image."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    random = np.random.RandomState(0)
    for name in ("b.png", "a.jpg", "deep/c.PNG", "deep/d.bmp"):
        Image.fromarray(random.randint(0, 255, (30, 20, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_folders_files_and_lists_are_read_in_order(photos):
    below = found([str(photos)])
    assert [name.removeprefix(f"{photos}/") for name in below] == [
        "a.jpg",
        "b.png",
        "broken.png",
        "deep/c.PNG",
        "deep/d.bmp",
    ]
    assert found(["x.png", str(photos / "deep"), "y.png"]) == ["x.png", *below[-2:], "y.png"]


def test_broken_images_are_named_and_counted(run, photos, tmp_path, capsys):
    table = tmp_path / "out.csv"
    words = [
        str(run),
        str(photos),
        "missing.png",
        "--top",
        "3",
        "--csv",
        str(table),
        "--workers",
        "0",
        "--batch-size",
        "2",
    ]
    assert main([*words, "--no-progress"]) == 1
    said = capsys.readouterr().err
    assert "broken.png is not a complete image" in said and "missing.png cannot be read" in said
    assert f"4 of 6 images predicted, in {table}; 2 could not be read" in said and "not calibrated" in said
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [bool(row["problem"]) for row in rows] == [False, False, True, False, False, True]
    model = lt_bench.load(run)
    likely = model.probabilities(model.transform(photos / "a.jpg")[None])[0]
    assert rows[0]["class_1"] == model.class_names[int(likely.argmax())]
    assert float(rows[0]["probability_1"]) == pytest.approx(float(likely.max()), abs=1e-5)


def test_names_come_from_standard_input_and_from_a_list(run, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{photos}/a.jpg\n".encode())))
    (tmp_path / "names.txt").write_text(f"{photos}/b.png\n")
    assert (
        main([str(run), "-", "--list", str(tmp_path / "names.txt"), "--top", "1", "--no-progress", "--workers", "0"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [f"{photos}/b.png", f"{photos}/a.jpg"]
    assert all(line.endswith(" %") and "," not in line for line in lines)


@pytest.mark.slow
def test_workers_change_nothing(run, photos, capfd):
    answers = []
    for workers in ("0", "2"):
        assert main([str(run), str(photos), "--workers", workers, "--batch-size", "1", "--no-progress"]) == 1
        answers.append(capfd.readouterr().out)
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no image is named"),
        (["x.png", "--top", "0"], "--top is 1 or more"),
        (["--list", "nowhere"], "cannot be read"),
    ],
)
def test_wrong_usage_is_refused(run, words, said, capsys):
    assert main([str(run), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def evil(run, tmp_path_factory):
    """The model with names of classes that are formulas, lines and columns."""
    model, folder = lt_bench.load(run), tmp_path_factory.mktemp("evil")
    names = ("=cmd|' /C calc'!A0", "@a\tb", "+a\n=b", "-\x1b[2J", "a,b", '"', "<b>", "'", "\u202etxt", "plain")
    replace(model, class_names=names).save(folder)
    return folder


def test_no_name_is_a_formula_or_another_line(evil, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["=1+1.png", "+a\nb.png", "@x\ty.png", "-.png", os.fsdecode(b"caf\xe9.png")]
    for name in names:
        (tmp_path / name).write_bytes(encoded(Image.new("RGB", (9, 9), "red")))
    (tmp_path / "=broken\n=1.png").write_bytes(b"")
    words = [str(evil), "--workers", "0", "--no-progress", "--top", "1000"]
    assert main([*words, "--", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names) and all(line.count("\t") == 1 and line.count(" %") == 10 for line in lines)
    assert not any(sign in line for line in lines for sign in "\x1b\u202e")
    assert main([*words, "--csv", "out.csv", "./"]) == 1
    said = capsys.readouterr().err
    assert "=broken\\x0a=1.png" in said
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert len(rows) == 1 + len(names) + 1 and {len(row) for row in rows} == {22}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert main([*words, "--csv", "out.csv", "=1+1.png"]) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("'=1+1.png,")


def test_lists_of_any_system_name_files_and_folders(run, photos, tmp_path, capsys):
    (photos / "deep" / os.fsdecode(b"caf\xe9.png")).write_bytes((photos / "b.png").read_bytes())
    lines = [str(photos / "a.jpg"), "", str(photos / "deep")]
    (tmp_path / "names.txt").write_bytes(codecs.BOM_UTF8 + os.fsencode("\r\n".join(lines)))
    assert main([str(run), "--list", str(tmp_path / "names.txt"), "--workers", "0", "--no-progress"]) == 0
    told = [line.split("\t")[0].removeprefix(f"{photos}/") for line in capsys.readouterr().out.splitlines()]
    assert told == ["a.jpg", "deep/c.PNG", "deep/caf\\udce9.png", "deep/d.bmp"]


def test_images_of_a_folder_that_are_not_read_are_said(run, photos, capsys, monkeypatch):
    (photos / "broken.png").unlink()
    (photos / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    walk = os.walk

    def forbidden(top, onerror=None):
        yield from walk(top)
        onerror(PermissionError(13, "Permission denied", f"{top}/closed"))

    monkeypatch.setattr("os.walk", forbidden)
    assert main([str(run), str(photos), "--workers", "0", "--no-progress"]) == 1
    said = capsys.readouterr().err
    assert "phone.HEIC is not a complete image" in said and "closed cannot be read" in said
    assert "4 of 6 images predicted; 2 could not be read" in said


def test_what_is_no_finished_run_is_said_before_anything_is_read(run, photos, tmp_path, capsys):
    started = tmp_path / "started"
    started.mkdir()
    (started / "checkpoint.pt").write_bytes(b"x")
    for name in ("0123456789ab", str(photos / "a.jpg"), str(started), "~nobody/run", "a\0b", ""):
        assert main([name, str(photos)]) == 2
        assert "name one, such as runs/RUN; one that is in progress" in capsys.readouterr().err
    assert main([str(run), str(photos), "--csv", str(tmp_path)]) == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err


def test_closed_and_empty_standard_input_are_refused(run, capsys, monkeypatch):
    for stream in (None, io.TextIOWrapper(io.BytesIO(b"\n\r\n"))):
        monkeypatch.setattr("sys.stdin", stream)
        assert main([str(run), "-"]) == 2
        said = capsys.readouterr().err
        assert "standard input is closed" in said if stream is None else "no image is named" in said


@pytest.mark.parametrize("words", [("predict", "{}", "photos"), ("export", "{}", "--to", "model")])
def test_pytorch_is_announced_before_it_is_loaded_and_a_wrong_folder_named_without_it(run, tmp_path, words):
    environment = without_torch(tmp_path)
    said = call(*(word.format(run) for word in words), cwd=tmp_path, env=environment).stderr
    assert said.startswith(f"lt_bench.{words[0]}: loading PyTorch") and "torch was imported" in said
    wrong = call(*(word.format(tmp_path) for word in words), cwd=tmp_path, env=environment)
    assert wrong.returncode == 2 and "is no folder of a finished run" in wrong.stderr
    assert "PyTorch" not in wrong.stderr and "torch was" not in wrong.stderr

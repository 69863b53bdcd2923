"""The command that predicts new images: what is meant, what is broken, what is written."""

import csv
import io

import numpy as np
import pytest
from helpers.chain import tiny
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
    assert found(["x.png", str(photos / "deep")], ["y.png\n", "\n"]) == ["x.png", *below[-2:], "y.png"]


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

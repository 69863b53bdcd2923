"""The command: which files it writes, and what it says where there is nothing to draw."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.chain import execute, tiny
from helpers.studies import study

from lt_bench.evaluation.predictions import load_predictions
from lt_bench.figures.__main__ import main
from lt_bench.figures.kinds import confused_images
from lt_bench.figures.studies import NotPossible, read_studies
from lt_bench.run.stages import load_data

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "records"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_figures_of_records_alone_are_those_that_need_no_predictions(tmp_path, capsys):
    study(rows=2, seeds=2, folder=tmp_path / "runs")
    for path in (tmp_path / "runs").glob("*/predictions.npz"):
        path.unlink()
    assert main([str(tmp_path / "runs"), "--format", "png"]) == 0
    made = ["digits_lt_if20_class_accuracy.png", "digits_lt_if20_group_bars.png"]
    assert names(tmp_path / "runs" / "figures") == made
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "runs" / "figures" / name) for name in made]
    assert re.search("no confusion of Digits-LT.*: run .* has no predictions.npz", said.err)


def test_one_kind_of_some_rows_in_another_place(tmp_path):
    study(rows=2, seeds=1, folder=tmp_path / "runs")
    words = ["--kind", "reliability", "--rows", "METHOD 1", "--out", str(tmp_path / "out")]
    assert main([str(tmp_path / "runs"), *words]) == 0
    assert names(tmp_path / "out") == [f"digits_lt_if20_reliability_METHOD-1-CB.{kind}" for kind in ("png", "svg")]


def test_labels_that_make_equal_names_make_two_files(tmp_path):
    study(rows=1, seeds=1, folder=tmp_path / "runs" / "a", method_name="A:B", setting_id="one")
    study(rows=1, seeds=1, folder=tmp_path / "runs" / "b", method_name="A;B", setting_id="two")
    assert main([str(tmp_path / "runs"), "--kind", "reliability", "--format", "svg"]) == 0
    stem = "digits_lt_if20_reliability_A-B-CB"
    assert names(tmp_path / "runs" / "figures") == [f"{stem}.svg", f"{stem}_2.svg"]


@pytest.mark.parametrize("name", ["数" * 100, "x" * 400, "../up", ".hidden", "a\nb"])
def test_every_name_of_a_data_set_and_a_method_makes_a_file(name, tmp_path):
    study(rows=1, seeds=1, folder=tmp_path / "runs", dataset=name, method_name=name)
    assert main([str(tmp_path / "runs"), "--kind", "group_bars", "reliability", "--format", "svg"]) == 0
    made = names(tmp_path / "runs" / "figures")
    assert len(made) == 2 and all(len(one.encode()) <= 160 and not one.startswith(".") for one in made)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no such file or folder: nowhere; name a run folder"),
        (["."], "no finished run in ."),
        ([str(RECORDS / "digits_demo.jsonl"), "--rows", "XYZ"], r"no finished run whose label has one of \['XYZ'\]"),
    ],
)
def test_nothing_to_draw_is_wrong_usage(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_kind_that_no_run_allows_fails(tmp_path, capsys):
    words = [str(RECORDS / "digits_demo.jsonl"), "--kind", "embedding", "--out", str(tmp_path)]
    assert main(words) == 1
    assert "name the folder of the run" in capsys.readouterr().err and names(tmp_path) == []


def test_the_help_names_all_kinds_without_matplotlib_and_so_does_a_wrong_one(capsys):
    code = (
        "import sys; from lt_bench.figures.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: sys.exit('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "confused_images" in done.stdout and "reliability" in done.stdout
    with pytest.raises(SystemExit) as stop:
        main(["--kind", "pie"])
    assert stop.value.code == 2 and "confused_images" in capsys.readouterr().err


def test_the_picture_of_the_docs_is_made_by_the_command_beside_it(tmp_path, monkeypatch):
    """By the words in it, ticks and labels, because another version of matplotlib draws other lines."""
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"python -m lt_bench\.figures (results/.*) --out docs/images", page)
    assert main([*command.split(), "--format", "svg", "--out", str(tmp_path)]) == 0
    (made,) = tmp_path.iterdir()
    kept = ROOT / "docs" / "images" / made.name
    assert f"images/{made.name}" in page and kept.stat().st_size < 100_000
    assert re.findall("<!-- .* -->", made.read_text()) == re.findall("<!-- .* -->", kept.read_text())


def test_confused_images_are_the_surest_mistakes_as_the_network_saw_them(tmp_path):
    record, folder = execute(tiny(tmp_path, "method=ce", "stage_two=cb"))
    (given,) = read_studies([tmp_path])
    (drawing,) = confused_images.collect(given)
    data, predictions = drawing.data, load_predictions(folder / "predictions.npz")
    assert data.wrong == (predictions.predicted != predictions.labels).sum() and len(data.images) == min(24, data.wrong)
    assert (np.diff(data.confidence) <= 0).all() and all(map(str.__ne__, data.true, data.predicted))
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    logits = predictions.logits[wrong].astype(float)
    sure = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).max(axis=1)
    position = int(wrong[sure.argmax()])
    test = load_data(tiny(tmp_path, "method=ce", "stage_two=cb"), __import__("torch").device("cpu")).test
    np.testing.assert_array_equal(data.images[0], test.images[position].permute(1, 2, 0).numpy())
    config = folder / "config.yaml"
    text = config.read_text()
    for change, said in (
        (("lt_bench.data.sources.digits.load", "my_file.load"), "my_file"),
        (("name: digits_lt", "name: [digits_lt"), "config.yaml cannot be used"),
    ):
        config.write_text(text.replace(*change))
        with pytest.raises(NotPossible, match=said):
            list(confused_images.collect(given))

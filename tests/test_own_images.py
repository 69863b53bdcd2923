"""The commands of docs/own-images.md, as they stand there, on a folder of photographs as people have them."""

import csv
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import image_trees
from helpers.odd_folders import encoded, turned

import lt_bench

PAGE = (Path(__file__).parents[1] / "docs" / "own-images.md").read_text(encoding="utf-8")
COUNTS = {"Größe & co": 30, "=two words": 14, "*rare*": 6}
MOST = 5 * 60 * 2  # CPU seconds: five minutes of two cores
ONNX = all(find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))


def commands():
    """The command lines of the page, those with a line after them joined."""
    text = PAGE.replace("\\\n", "")
    return [shlex.split(line) for line in re.findall(r"^    lt-bench (.*)$", text, re.MULTILINE)]


def messy(place):
    """Classes of unequal sizes in photos/, with all that gathers there, and new images, one of them broken, in new/."""
    for label, (name, count) in enumerate(COUNTS.items()):
        folder = place / "photos" / name
        (folder / "more" / "deep").mkdir(parents=True)
        for number in range(count):
            where = folder / "more" / "deep" if number % 5 == 4 else folder
            image_trees.picture(label, number, len(COUNTS)).save(where / f"IMG {number}.{('JPG', 'png')[number % 2]}")
    pictures = {number: image_trees.picture(0, 100 + number, len(COUNTS)) for number in range(5)}
    folder = place / "photos" / "Größe & co"
    (folder / "turned.jpg").write_bytes(turned(pictures[0], 6))
    (folder / "palette.png").write_bytes(encoded(pictures[1].quantize(16)))
    (folder / "ink.jpeg").write_bytes(encoded(pictures[2].convert("CMYK"), "JPEG"))
    (folder / "grey.png").write_bytes(encoded(pictures[3].convert("L")))
    (folder / "see-through.png").write_bytes(encoded(pictures[4].convert("RGBA")))
    (folder / "notes.txt").write_text("nothing")
    (folder / "Thumbs.db").write_bytes(b"x")
    (place / "photos" / ".DS_Store").write_bytes(b"x")
    (place / "photos" / "README").write_text("mine")
    (place / "photos" / "__MACOSX").mkdir()
    new = place / "new"
    new.mkdir()
    for number in range(4):
        image_trees.picture(number % 3, 200 + number, len(COUNTS)).save(new / f"{number}.png")
    (new / "broken.jpg").write_bytes(b"\xff\xd8\xff")


def test_the_page_has_eight_commands_from_the_check_to_the_export():
    words = [command[0] for command in commands()]
    assert words == ["data", "-m", "report", "figures", "predict", "predict", "export", "export"]


@pytest.mark.slow
def test_the_commands_of_the_page_lead_from_a_messy_folder_to_a_model(tmp_path):
    messy(tmp_path)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said, run = [], None
    for words in commands():
        if any("runs/RUN" in word for word in words):
            run = run or next(path.parent for path in sorted(tmp_path.glob("runs/*/predictor.safetensors")))
            words = [word.replace("runs/RUN", f"runs/{run.name}") for word in words]
        done = subprocess.run(
            [sys.executable, "-m", "lt_bench", *words], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True
        )
        refused = "--onnx" in words and not ONNX
        expected = 2 if refused else int(words[0] == "predict")  # one image is broken
        assert done.returncode == expected, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        said.append(done.stdout + done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < MOST

    assert all(title in said[2] for title in ("CE", "Balanced Softmax", "LDAM"))
    assert "calibrated, temperature" in said[4] and "4 of 5 images predicted; 1 could not be read" in said[4]
    names = lt_bench.load(run).class_names
    assert sorted(names) == sorted(COUNTS)
    rows = list(csv.DictReader((tmp_path / "new.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["image"] for row in rows] == ["new/0.png", "new/1.png", "new/2.png", "new/3.png", "new/broken.jpg"]
    assert {row["class_1"].removeprefix("'") for row in rows} <= {*COUNTS, ""}
    assert (tmp_path / "model" / "labels.txt").read_text(encoding="utf-8").splitlines() == list(names)
    settings = json.loads((tmp_path / "model" / "preprocessing.json").read_text())
    assert settings["size"] == 64 and np.isclose(settings["temperature"], lt_bench.load(run).temperature)
    assert (tmp_path / "model-onnx" / "model.onnx").exists() == ONNX or not ONNX
    if not ONNX:
        assert "pip install 'lt_bench[export]'" in said[7]

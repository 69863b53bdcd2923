"""Contributed records: what travels with them, that it is verified on reading, and that tampered ones are refused."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.samples import predictions, sample

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import Predictions, save_predictions
from lt_bench.files import write_json
from lt_bench.record.collect import read_found, read_records
from lt_bench.record.contributed import COUNTS, IN_FULL, KEY, NOTHING, packed, refusal, unchecked
from lt_bench.record.record import CONTRIBUTED, RunRecord
from lt_bench.report.__main__ import main


def made(images: int = 60, classes: int = 6, seed: int = 0) -> Predictions:
    random = np.random.RandomState(seed)
    labels = np.arange(images) % classes
    logits = random.randn(images, classes).astype(np.float32)
    logits[np.arange(images), labels] += 1.5
    return predictions(logits, labels, range(10 * classes, 0, -10), "thirds")


def of_pixels(images: int = 40, classes: int = 6) -> Predictions:
    """Counts of pixels, of which every image has some of its own."""
    random = np.random.RandomState(0)
    rows = [
        (image, *random.randint(classes, size=2), random.randint(1, 99)) for image in range(images) for _ in range(3)
    ]
    counts = np.arange(10 * classes, 0, -10)
    return Predictions(by_image=np.array(rows), train_counts=counts, group_rule="thirds")


SMALL, LARGE, PIXELS = made(), made(3000), of_pixels()
DEVICE = {"seconds": 1.5, "device": "NVIDIA L4"}


def record_of(found: Predictions, **changes: Any) -> RunRecord:
    return sample(**{"metrics": evaluate(found), "cost": DEVICE} | changes)


def line_of(found: Predictions, **changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(record_of(found, **changes).to_dict() | {KEY: packed(found)}))


def write(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "contributed" / "alice.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return file


@pytest.mark.parametrize(("found", "checked"), [(SMALL, IN_FULL), (LARGE, COUNTS), (PIXELS, COUNTS)])
def test_a_contribution_is_verified_and_says_by_whom_it_is(found: Predictions, checked: str, tmp_path: Path) -> None:
    (read,) = read_records([write(tmp_path, line_of(found))])
    assert read == record_of(found) and read.environment[CONTRIBUTED] == {"by": "alice", "checked": checked}
    assert unchecked(read) == ([] if checked == IN_FULL else [n for n in read.metrics if n in ("top5", "ece", "nll")])
    assert len(json.dumps(packed(LARGE))) < 2000  # counts of many images are few


def test_of_too_many_classes_a_digest_travels_alone(tmp_path: Path) -> None:
    many = made(2100, 2100)
    assert packed(many).keys() == {"sha256"}
    (read,) = read_records([write(tmp_path, line_of(many, metrics={"top1": 0.5}))])
    assert read.environment[CONTRIBUTED]["checked"] == NOTHING and unchecked(read) == ["top1"]


def _array(line: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = line[KEY]["arrays"][name]
    return found


TAMPERED = {
    "a metric": (SMALL, lambda line: line["metrics"].update(top1=0.99), "top1 is 0.99, from the predictions it is"),
    "a class": (LARGE, lambda line: line["metrics"]["per_class_accuracy"].__setitem__(3, 1.0), "per_class_accuracy"),
    "the rule": (LARGE, lambda line: line.update(group_rule="count_100_20"), "group_rule is count_100_20"),
    "the digest": (SMALL, lambda line: line[KEY].update(sha256="0" * 64), "not those of their digest"),
    "predictions": (SMALL, lambda line: line[KEY].update(packed(made(seed=1)) | {"sha256": packed(SMALL)["sha256"]}),
                    "not those of their digest"),
    "no digest": (SMALL, lambda line: line.pop(KEY), "no digest of its predictions; export it"),
    "no device": (SMALL, lambda line: line["cost"].pop("device"), "does not name the device"),
    "no sha": (SMALL, lambda line: line[KEY].pop("sha256"), "there is no digest sha256"),
    "no arrays": (SMALL, lambda line: line[KEY].update(arrays=-1), "arrays and group_rule stand together"),
    "a list": (SMALL, lambda line: line.update({KEY: [1]}), "there is no digest sha256"),
    "a kind": (SMALL, lambda line: _array(line, "logits").update(kind="|O"), "logits is no array"),
    "base64": (SMALL, lambda line: _array(line, "logits").update(zlib="~"), "logits is damaged"),
    "zlib": (SMALL, lambda line: _array(line, "logits").update(zlib="AAAA"), "logits is damaged"),
    "a shape": (SMALL, lambda line: _array(line, "logits").update(shape=[60, 7]), "logits is not of its shape"),
    "a bomb": (SMALL, lambda line: _array(line, "logits").update(shape=[2**20, 2**20]), "logits is too large"),
    "no shape": (SMALL, lambda line: _array(line, "logits").update(shape=[-1]), "logits has no shape"),
    "an array": (SMALL, lambda line: line[KEY]["arrays"].pop("labels"), "no array 'labels'"),
    "counts": (LARGE, lambda line: _array(line, "confusion").update(_array(line, "train_counts")), "no list of counts"),
    "pixels": (PIXELS, lambda line: line["metrics"].update(miou=0.99), "miou is 0.99, from the predictions it is"),
    "a group of pixels": (PIXELS, lambda line: line["metrics"].update(many=0.99), "many is 0.99"),
    "counts of pixels": (PIXELS, lambda line: _array(line, "confusion_by_image").update(_array(line, "train_counts")),
                         "no list of counts"),
    "a rule": (SMALL, lambda line: line[KEY].update(group_rule="halves"), "halves"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_line_is_refused_with_its_number(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found, change, said = TAMPERED[name]
    line, other = line_of(found), line_of(SMALL, seed=5)
    wrong = copy.deepcopy(line)
    change(wrong)
    with caplog.at_level(logging.WARNING):
        read = read_records([write(tmp_path, other, wrong)])
    assert [record.seed for record in read] == [5]
    assert "skipped" in caplog.text and "alice.jsonl:2: " in caplog.text and said in caplog.text
    assert len(read_records([write(tmp_path, other, line)])) == 2  # it is the change that is refused


def test_an_export_of_ones_own_is_verified_too_and_not_marked(tmp_path: Path) -> None:
    wrong = line_of(SMALL)
    wrong["metrics"]["top1"] = 0.99
    for line, count in ((line_of(SMALL), 1), (wrong, 0)):
        (tmp_path / "mine.jsonl").write_text(json.dumps(line), encoding="utf-8")
        read = read_records([tmp_path / "mine.jsonl"])
        assert len(read) == count and not any(CONTRIBUTED in one.environment for one in read)
    assert refusal(record_of(SMALL), None, contributed=False) == ""


def test_ones_own_record_of_a_run_is_not_taken_for_a_contribution(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text(json.dumps(record_of(SMALL).to_dict()), encoding="utf-8")
    file = write(tmp_path, line_of(SMALL))
    (found,) = read_found([file, tmp_path / "records.jsonl"])
    assert CONTRIBUTED not in found.record.environment and found.packed


def test_an_export_travels_into_the_tables_of_others_with_a_mark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        record = record_of(made(seed=seed), seed=seed)
        write_json(tmp_path / "runs" / record.run_id / "record.json", record.to_dict())
        save_predictions(tmp_path / "runs" / record.run_id / "predictions.npz", made(seed=seed))
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps(record_of(SMALL, setting_id="ce", method="ce", method_name="CE").to_dict()))
    file = tmp_path / "contributed" / "bob.jsonl"
    out = ["--out", str(tmp_path / "tables")]
    assert main(["--runs", str(tmp_path / "runs"), *out, "--export", str(file)]) == 0
    assert "‡" not in capsys.readouterr().out
    for words in (["--cost"], ["--baseline", "CE / CB"], ["--published"], ["--rows", "method", "--cols", "imbalance"]):
        assert main(["--runs", str(own), str(file), *out, *words]) == 0
        printed = capsys.readouterr().out
        assert printed.count(" ‡") >= 1 and "‡ " in printed and "contributed" in printed.lower()
    assert main(["compare", "method=sbcl", "method=ce", "--runs", str(own), str(file)]) == 0
    printed = capsys.readouterr().out
    assert "A: SBCL / CB ‡ (method=sbcl)" in printed and "2 runs by bob on NVIDIA L4" in printed
    csv = (tmp_path / "tables" / "digits_lt_if20.csv").read_text(encoding="utf-8")
    assert ",contributed," in csv.splitlines()[0] and ",bob," in csv and ",,n" not in csv.splitlines()[0]
    caption = (tmp_path / "tables" / "digits_lt_if20.md").read_text(encoding="utf-8")
    assert "2 runs by bob on NVIDIA L4, checked by the predictions that came with them" in caption
    again = tmp_path / "again" / "contributed" / "bob.jsonl"  # passing on what was contributed keeps its predictions
    assert main(["--runs", str(file), *out, "--export", str(again)]) == 0
    assert [record.run_id for record in read_records([again])] == [record.run_id for record in read_records([file])]

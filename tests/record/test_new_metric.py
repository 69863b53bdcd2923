"""A metric that is younger than a run: the run stays done, and has the metric where its predictions are there."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from helpers.chain import TINY, execute, tiny
from helpers.samples import predictions, runs, sample

from lt_bench.evaluation.metrics import METRICS, evaluate, metric
from lt_bench.evaluation.predictions import Predictions, load_predictions, save_predictions
from lt_bench.files import write_json
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.tables import plan_text
from lt_bench.record.collect import read_records
from lt_bench.record.folder import finished
from lt_bench.record.identity import run_id
from lt_bench.record.record import RunRecord
from lt_bench.report.__main__ import main as report

NEW = "best_class"


@pytest.fixture
def new_metric(metrics_end_with_the_test: None) -> None:
    """The table with one metric more."""

    @metric(NEW, column="best class")
    def best_class(predictions: Predictions) -> float:
        return float(predictions.tested.max())


def stored(folder: Path, record: RunRecord, made: Predictions | None = None) -> RunRecord:
    write_json(folder / record.run_id / "record.json", record.to_dict())
    if made is not None:
        save_predictions(folder / record.run_id / "predictions.npz", made)
    return record


MADE = predictions(np.eye(6)[[0, 1, 2, 3, 0, 0]], range(6), [9, 8, 7, 6, 5, 4])
OLD = {name: value for name, value in evaluate(MADE).items() if name in sample().metrics}


def test_what_a_record_lacks_comes_from_its_predictions(tmp_path: Path, new_metric: None) -> None:
    old = stored(tmp_path, sample(metrics=OLD), MADE)
    alone = stored(tmp_path, sample(seed=1))
    before = (tmp_path / old.run_id / "record.json").read_bytes()
    filled, bare = read_records([tmp_path])
    assert (filled.metrics[NEW], bare.metrics[NEW]) == (1.0, None) and bare == alone
    measured = evaluate(MADE)
    assert filled.metrics == {**measured, **old.metrics}  # what was recorded stays
    assert read_records([tmp_path], metrics=["nll"])[0].metrics == {**old.metrics, "nll": measured["nll"]}
    assert read_records([tmp_path], metrics=()) == [old, alone]
    assert (tmp_path / old.run_id / "record.json").read_bytes() == before


def test_damaged_predictions_cost_the_metric_and_not_the_record(
    tmp_path: Path, new_metric: None, caplog: pytest.LogCaptureFixture
) -> None:
    record = stored(tmp_path, sample(metrics=OLD), MADE)
    path = tmp_path / record.run_id / "predictions.npz"
    path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path]) == [record]
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert line.startswith(f"run {record.run_id} is not compared with its predictions: ") and "predictions.npz" in line


def test_copies_of_a_run_with_and_without_a_metric_are_one(tmp_path: Path) -> None:
    older, newer = sample(), sample(metrics=sample().metrics | {"nll": 2.5})
    for name, record in (("a", older), ("b", newer)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(record.to_dict()) + "\n")
    assert read_records([tmp_path]) == [newer]
    (tmp_path / "c.jsonl").write_text(json.dumps(sample(metrics={"nll": 2.25}).to_dict()) + "\n")
    with pytest.raises(ValueError, match="two different records, in .*a.jsonl:1 and in .*c.jsonl:1"):
        read_records([tmp_path])


def test_the_report_shows_a_new_metric_and_a_dash_where_it_is_not_known(
    tmp_path: Path, new_metric: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "runs", sample(metrics=OLD), MADE)
    for record in runs([(0.5, 0.1)], setting_id="ce", method_name="CE"):
        stored(tmp_path / "runs", record)
    command = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "tables")]
    assert report(command) == 0
    plain = capsys.readouterr().out
    assert "best class" not in plain and " CE / CB " in plain and " SBCL / CB " in plain
    assert report([*command, "--metric", NEW, "nll"]) == 0
    lines = (tmp_path / "tables" / "digits_lt_if20.md").read_text().splitlines()
    head, _, ce, sbcl = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    shown = {row[0]: dict(zip(head, row, strict=True)) for row in (ce, sbcl)}
    nll = f"{evaluate(MADE)['nll']:.3f} ± –"
    assert (shown["CE / CB"]["best class"], shown["CE / CB"]["NLL"]) == ("–", "–")
    assert (shown["SBCL / CB"]["best class"], shown["SBCL / CB"]["NLL"]) == ("**100.0 ± –**", f"**{nll}**")
    assert "best class: %, higher is better; NLL: nats, lower is better" in lines[0]
    csv = (tmp_path / "tables" / "digits_lt_if20.csv").read_text().splitlines()
    assert "best_class_mean,best_class_std,nll_mean,nll_std" in csv[0]


def test_an_export_takes_along_what_the_predictions_say(tmp_path: Path, new_metric: None) -> None:
    stored(tmp_path / "runs", sample(metrics=OLD), MADE)
    export = tmp_path / "all.jsonl"
    assert report(["--runs", str(tmp_path / "runs"), "--out", str(tmp_path), "--export", str(export)]) == 0
    (record,) = read_records([export])
    assert record.metrics[NEW] == 1.0 and record.metrics["nll"] == evaluate(MADE)["nll"]


def test_a_finished_run_stays_done(tmp_path: Path, new_metric: None) -> None:
    config = tiny(tmp_path, "method=ce", "stage_two=none")
    METRICS.pop(NEW)
    record, folder = execute(config)
    first = (folder / "record.json").read_bytes()
    metric(NEW, column="best class")(lambda predictions: float(predictions.tested.max()))
    assert record.run_id == run_id(config) and finished(str(tmp_path), record.run_id) == (record, folder)
    assert record.metrics[NEW] is None
    planned = plan([*TINY, f"output_dir={tmp_path}", "method=ce", "stage_two=none"])
    assert plan_text(planned).endswith("runs: 1, done: 1")
    again, _ = execute(config)
    assert again == record and (folder / "record.json").read_bytes() == first
    (known,) = [found for found in read_records([tmp_path]) if found.kind == "run"]
    assert known.metrics[NEW] == evaluate(load_predictions(folder / "predictions.npz"))[NEW]


def test_a_run_of_a_newer_version_stays_done(tmp_path: Path) -> None:
    record = stored(tmp_path, sample(run_id="0123456789ab"))
    newer = record.to_dict() | {"schema": 4, "colour": 1}
    newer["metrics"] = {"top1": 0.5, "sharpness": 2.0}
    write_json(tmp_path / record.run_id / "record.json", newer)
    done = finished(str(tmp_path), record.run_id)
    assert done is not None and done[0].metrics["sharpness"] == 2.0

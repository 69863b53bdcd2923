import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.samples import metrics, predictions, sample

from lt_bench.evaluation.metrics import METRICS, evaluate
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.files import DEEPEST, write_json
from lt_bench.record.collect import read_records
from lt_bench.record.record import PREDICTIONS, RunRecord, read_record


def test_round_trip_through_json() -> None:
    record = sample(imbalance_factor=None, stage_one_id=None)
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_real_metrics_are_accepted() -> None:
    measured = evaluate(predictions(np.array([[2.0, 1.0, 0.0]]), [0], [9, 5, 1]))
    record = sample(metrics=measured)
    assert record.metrics == measured and record.metrics["few"] is None and record.metrics["nll"] > 0
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_cost_and_environment_decide_nothing() -> None:
    record = sample()
    other = replace(record, cost={"seconds": 99.0}, environment={}, method_order=5, stage_two_order=7)
    assert other == record and other.identity_values() == record.identity_values()
    assert not {"cost", "environment"} & record.identity_values().keys()
    assert replace(record, seed=1) != record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "0"}, r"'seed': expected int, found '0'"),
        ({"seed": True}, "'seed': expected int, found True"),
        ({"imbalance_factor": "20"}, r"'imbalance_factor': expected float \| None"),
        ({"settings": []}, "'settings'"),
        ({"selection": "best"}, "'selection': expected one of last, best_validation, best_test, found 'best'"),
        ({"metrics": []}, "'metrics': expected dict"),
        ({"schema": 0}, "'schema': expected a whole number from 1, found 0"),
        ({"schema": "3"}, "'schema': expected a whole number from 1, found '3'"),
        ({"schema": True}, "'schema': expected a whole number"),
        ({"method_order": "first"}, "'method_order'"),
        ({"metrics": metrics(top1=50.0)}, r"'metrics.top1': expected a fraction in \[0, 1\], found 50.0"),
        ({"metrics": metrics(ece=float("nan"))}, "'metrics.ece'"),
        ({"metrics": metrics() | {"macro": None}}, "'metrics.macro'"),
        ({"metrics": metrics() | {"worst_class": 1.01}}, "'metrics.worst_class'"),
        ({"metrics": metrics() | {"nll": float("inf")}}, "'metrics.nll': expected a finite number, found inf"),
        ({"metrics": metrics() | {"nll": "2.3"}}, "'metrics.nll'"),
        ({"metrics": metrics() | {"group_std": 14.0}}, "'metrics.group_std'"),
        ({"metrics": metrics() | {"top5": -1}}, "'metrics.top5'"),
        ({"metrics": metrics() | {"test_counts": [1]}}, "lists of one length"),
        ({"metrics": metrics() | {"per_class_accuracy": [2.0, None]}}, "'metrics.per_class_accuracy'"),
        ({"metrics": metrics() | {"train_counts": [1.5, 2]}}, "'metrics.train_counts'"),
    ],
)
def test_wrong_values_name_file_and_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^some/record.json: key .*{message}"):
        RunRecord.from_dict(sample().to_dict() | changes, "some/record.json")


@pytest.mark.parametrize("key", ["run_id", "kind", "schema", "setting_id", "method", "dataset", "budget", "seed"])
def test_a_record_that_lacks_what_identifies_it_is_refused(key: str) -> None:
    values = {name: value for name, value in sample().to_dict().items() if name != key}
    with pytest.raises(ValueError, match=f"^here: .*'{key}'"):
        RunRecord.from_dict(values, "here")
    with pytest.raises(ValueError, match="here: expected an object"):
        RunRecord.from_dict([values], "here")


def test_a_record_without_a_metric_has_null_there() -> None:
    record = sample(metrics={"top1": 0.5})
    assert record.metrics["top1"] == 0.5 and record.metrics["nll"] is None and record.metrics["train_counts"] is None
    assert record.to_dict()["metrics"] == {"top1": 0.5}
    without = {key: value for key, value in sample().to_dict().items() if key != "metrics"}
    assert RunRecord.from_dict(without).metrics["top1"] is None


def test_a_newer_record_is_read_as_far_as_it_goes() -> None:
    values = sample().to_dict() | {"schema": 4, "colour": 1, "selection": "best_average"}
    values["metrics"] |= {"nll": {"mean": 2.0}, "top1": 0.25, "sharpness": [1, "x"]}
    record = RunRecord.from_dict(values, "here")
    assert (record.schema, record.selection, record.metrics["top1"]) == (4, "best_average", 0.25)
    assert record.metrics["nll"] is None and record.metrics["sharpness"] == [1, "x"]
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    with pytest.raises(ValueError, match="missing key.*'run_id'"):
        RunRecord.from_dict({key: value for key, value in values.items() if key != "run_id"})


def test_unknown_keys_are_ignored_with_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [sample(seed=seed) for seed in range(3)]
    for record in records:
        newer = record.to_dict() | {"schema": 4, "colour": 1} | ({"shape": 2} if record.seed else {})
        write_json(tmp_path / record.run_id / "record.json", newer)
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path]) == records
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert line.endswith("does not know: 'colour' (3), 'shape' (2)")


def of_schema_1(record: RunRecord) -> dict[str, Any]:
    values = record.to_dict()
    kept = {key: value for key, value in values["metrics"].items() if key not in ("top5", "group_std")}
    return values | {"schema": 1, "metrics": kept}


def test_a_record_of_schema_1_gets_the_deviation_over_its_groups() -> None:
    old = RunRecord.from_dict(of_schema_1(sample(metrics=metrics(groups=(0.9, 0.6, 0.3)))))
    assert old.schema == 3 and old.metrics["top5"] is None
    assert old.metrics["group_std"] == pytest.approx(0.06**0.5)
    without_a_group = of_schema_1(sample(metrics=metrics(groups=(0.9, None, 0.3))))
    assert RunRecord.from_dict(without_a_group).metrics["group_std"] is None
    stage_one = of_schema_1(sample(kind="stage_one", metrics={}))
    assert RunRecord.from_dict(stage_one).metrics == {}


def test_a_damaged_record_of_schema_1_is_refused() -> None:
    for change, message in (
        ({"metrics": 3}, "key 'metrics'"),
        ({"metrics": {"top1": "0.5"}}, "'metrics.top1'"),
        ({"metrics": of_schema_1(sample())["metrics"] | {"few": "x"}}, "'metrics.few'"),
    ):
        with pytest.raises(ValueError, match=message):
            RunRecord.from_dict(of_schema_1(sample()) | change)


def test_a_stage_one_needs_no_metrics() -> None:
    assert sample(kind="stage_one", metrics={}).metrics == {}


def test_records_are_found_in_folders_and_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = (sample(seed=seed) for seed in range(3))
    write_json(tmp_path / "runs" / first.run_id / "record.json", first.to_dict())
    (tmp_path / "runs" / first.run_id / "metrics.jsonl").write_text('{"loss": 1.0}\n')
    lines = [json.dumps(record.to_dict()) for record in (third, second, first)]
    (tmp_path / "runs" / "more.jsonl").write_text("\n\n".join(lines) + "\n")
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path / "runs"]) == [first, second, third]
        assert read_records([tmp_path / "runs" / first.run_id]) == [first]
        assert read_records([tmp_path / "runs" / "more.jsonl"]) == [first, second, third]
    assert not caplog.records
    assert read_record(tmp_path / "runs" / first.run_id / "record.json") == first


def test_what_is_no_record_is_skipped_with_one_line_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = sample()
    write_json(tmp_path / "a" / "record.json", good.to_dict())
    write_json(tmp_path / "b" / "record.json", good.to_dict() | {"seed": None})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "record.json").write_bytes(b'{"run_id": "\xff')
    (tmp_path / "d.jsonl").write_text(json.dumps(good.to_dict()) + "\n[1,\n2]\n")
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path]) == [good]
    messages = [entry.getMessage() for entry in caplog.records]
    assert all("\n" not in message for message in messages)
    places = ["b/record.json: key 'seed'", "c/record.json: not valid JSON", "d.jsonl:2: not", "d.jsonl:3: not"]
    assert len(messages) == 4 and all(place in message for place, message in zip(places, messages, strict=True))


DEEP = ["[" * 700 + "]" * 700, '{"a":' * 99 + "[]" + "}" * 99]


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", '"\\ud800"', *DEEP])
def test_a_record_that_no_file_could_hold_costs_no_others(
    value: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = sample()
    write_json(tmp_path / "a" / "record.json", good.to_dict())
    text = json.dumps(sample(seed=5).to_dict() | {"settings": {"train.lr": "?"}})
    (tmp_path / "b.jsonl").write_text(text.replace('"?"', value))
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path]) == [good]
    assert "b.jsonl:1: not valid JSON" in caplog.text


def test_values_as_deep_as_a_record_may_be_can_be_written_again(tmp_path: Path) -> None:
    most = DEEPEST - 2  # in the settings of the record
    text = json.dumps(sample().to_dict() | {"settings": {"train.lr": "?"}})
    (tmp_path / "a.jsonl").write_text(text.replace('"?"', "[" * most + "]" * most))
    (found,) = read_records([tmp_path])
    assert json.dumps(found.to_dict()).count("[" * most) == 1
    (tmp_path / "a.jsonl").write_text(text.replace('"?"', "[" * (most + 1) + "]" * (most + 1)))
    assert read_records([tmp_path]) == []


def test_doubles_collapse_and_contradictions_name_both_files(tmp_path: Path) -> None:
    record = sample()
    write_json(tmp_path / "a" / "record.json", record.to_dict())
    write_json(tmp_path / "b" / "record.json", record.to_dict() | {"cost": {"seconds": 7.0}})
    assert read_records([tmp_path / "b", tmp_path / "a", tmp_path]) == [record]
    write_json(tmp_path / "b" / "record.json", replace(record, metrics=metrics(top1=0.25)).to_dict())
    with pytest.raises(ValueError, match=f"{record.run_id} has two different records, in .*a/record.json and .*b/rec"):
        read_records([tmp_path])


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_records([tmp_path / "nowhere"])


def test_a_defect_of_one_metric_is_seen_and_named(tmp_path, monkeypatch):
    def broken(given):
        raise ValueError("of its author")

    for function, said in ((broken, "of its author"), (lambda given: 7.0, "expected a fraction in \\[0, 1\\]")):
        monkeypatch.setitem(METRICS, "mine", METRICS["macro"]._replace(function=function))
        made = predictions(np.array([[2.0, 1.0, 0.0]]), [0], [9, 5, 1])
        record = sample(metrics=evaluate(made, {"top1"}))
        write_json(tmp_path / "record.json", record.to_dict())
        save_predictions(tmp_path / PREDICTIONS, made)
        with pytest.raises(RuntimeError, match=f"metric 'mine' of run {record.run_id} cannot be computed: .*{said}"):
            read_records([tmp_path], {"mine"})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"cost": {"seconds": "1"}}, "cost.seconds"),
        ({"cost": {"peak_memory_mb": [1]}}, "cost.peak_memory_mb"),
        ({"cost": {"device": None}}, "cost.device"),
        ({"environment": {"processes": "2"}}, "environment.processes"),
        ({"settings": {"stage_two.shot_seed": [1]}}, "settings.stage_two.shot_seed"),
        ({"settings": {"train.epochs": "ten"}}, "settings.train.epochs"),
        ({"epochs": {"train": 3}}, "epochs.train"),
        ({"epochs": {"train": {"epochs": None}}}, "epochs.train.epochs"),
        ({"epochs": {"not_reached": "all"}}, "epochs.not_reached"),
        ({"environment": {"same_images": 3}}, "environment.same_images"),
    ],
)
def test_parts_that_are_read_are_of_their_kind(changes, key):
    with pytest.raises(ValueError, match=f"'{re.escape(key)}': expected"):
        sample(**changes)
    name, part = next(iter(changes.items()))
    assert getattr(sample(**{name: {"other": part}}), name) == {"other": part}
